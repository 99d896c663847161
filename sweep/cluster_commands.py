"""The commands about clusters: parses their words, calls the library, prints; decides nothing."""

from __future__ import annotations

import argparse
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sweep.cluster import MACHINES, USUAL, Need, Provider, fleet, need_of, need_together
from sweep.cluster_names import PYTHON_VERSION, RAY_VERSION, Names
from sweep.cluster_text import cluster_text
from sweep.load import Unreadable, load
from sweep.masked import masked
from sweep.mirror_names import unknown_mirrors
from sweep.presets import SUITES
from sweep.simulation_commands import with_gangs
from trainables.faults import refuse


def add_cluster(commands: Any) -> None:
    """The `cluster` command."""
    text = "print a cluster configuration sized for a sweep; starts nothing"
    command = commands.add_parser("cluster", help=text, description=f"{text[0].upper()}{text[1:]}.")
    command.add_argument(
        "--for", dest="definition", metavar="NAME_OR_FILE", help="size it for this sweep (default: eight 24 GB GPUs)"
    )
    command.add_argument("--provider", type=Provider, choices=list(Provider), default=Provider.AWS)
    command.add_argument("--output", metavar="FILE", help="write it there instead of printing it")
    command.add_argument("--name", default="transfer-sweep", help="name of the cluster (default: %(default)s)")
    command.add_argument("--region", default="", help="aws, gcp: region of the machines and the bucket")
    command.add_argument("--project", default=Names.project, help="gcp: project id")
    command.add_argument("--image", default=Names.image, help="kuberay: image with the project, see cluster/Dockerfile")
    command.add_argument("--head", default=Names.head, help="local: address of the head")
    command.add_argument("--workers", nargs="+", default=list(Names.workers), help="local: addresses of the workers")
    command.add_argument("--ssh-user", default="", help="local: who logs in on them")
    command.add_argument("--ssh-key", default=Names.ssh_key, help="local: private key file (default: %(default)s)")
    command.add_argument(
        "--variable",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="local: a variable of cluster/node.sh on every machine, such as SWEEP_VENV=/opt/venv; repeatable",
    )
    command.add_argument(
        "--check", action="store_true", help="local: log in on every machine first, and say what stands in the way"
    )
    command.set_defaults(act=_cluster)


def _cluster(options: argparse.Namespace) -> int:
    need = _need(options.definition) if options.definition else USUAL
    if options.check:
        from sweep.reach import reach_faults

        refuse("the check of machines", _uncheckable(options))
        addresses = [options.head, *options.workers]
        refuse("these machines", reach_faults(addresses, user=options.ssh_user, key=options.ssh_key))
    text = cluster_text(need, options.provider, _names(options))
    if options.output:
        Path(options.output).write_text(text)
        print(f"wrote {options.output}", file=sys.stderr)
    else:
        print(text, end="")
    for line in _remarks(need, options.provider):
        print(f"sweep: {line}", file=sys.stderr)
    return 0


def _need(name_or_file: str) -> Need:
    """What a sweep needs, or the sweeps of a suite one after the other."""
    if name_or_file not in SUITES:
        return need_of(load(name_or_file))
    suite = SUITES[name_or_file]()
    return need_together(
        f"suite {suite.name!r} ({len(suite.sweeps)} sweeps, one after the other)", list(map(need_of, suite.sweeps))
    )


def _uncheckable(options: argparse.Namespace) -> Iterator[str]:
    """Why there is nothing to log in on, or nobody to log in as."""
    if options.provider is not Provider.LOCAL:
        yield f"--check is for machines of one's own, --provider local, got {options.provider}: nothing is rented yet"
        return
    given = {"--head": options.head, "--workers": " ".join(options.workers), "--ssh-user": options.ssh_user}
    for option, value in given.items():
        if not value or "CHANGE-ME" in value:
            yield f"{option} must be given, got none"


def _names(options: argparse.Namespace) -> Names:
    refuse("the variables of cluster/node.sh", _variable_faults(options.variable))
    return Names(
        cluster=options.name,
        checkout=checkout(),
        python=_python(options),
        # A pod has the Ray of its image, other machines get the one of this machine, which alone can talk to it.
        ray=RAY_VERSION if options.provider is Provider.KUBERAY else version("ray"),
        region=options.region,
        project=options.project,
        image=options.image,
        head=options.head,
        workers=tuple(options.workers),
        ssh_user=options.ssh_user,
        ssh_key=options.ssh_key,
        environment=tuple(tuple(text.split("=", 1)) for text in options.variable),
    )


def _python(options: argparse.Namespace) -> str:
    """The Python that every machine must have: one that cluster/node.sh can bring, whatever runs this command.

    Environments and interpreters of one's own are taken to be of the Python that runs it.
    """
    given = dict(text.split("=", 1) for text in options.variable)
    own = given.get("SWEEP_INSTALL") == "0" or "/" in given.get("SWEEP_PYTHON", "")
    return platform.python_version() if own and options.provider is Provider.LOCAL else PYTHON_VERSION


def checkout() -> str:
    """The folder of this project, which `ray up` copies to every machine; '.' where that is the current one.

    Raises:
        Invalid: where the project was installed without one.
    """
    if Path("cluster/node.sh").is_file():
        return "."
    root = Path(__file__).resolve().parents[1]
    fault = f"cluster/node.sh must lie beside the package, got none in {root}; run this from a checkout of the project"
    refuse("the checkout", () if (root / "cluster/node.sh").is_file() else (fault,))
    return str(root)


def _remarks(need: Need, provider: Provider) -> Iterator[str]:
    if not need.gpus_per_worker:
        yield "the gangs of this definition use no GPU, so none is rented; gpus_per_worker in its Gangs changes that"
    if provider in MACHINES:
        sized = fleet(need, provider)
        used, there = need.gangs * need.workers, sized.workers
        if used < there:
            yield (
                f"{sized.nodes} × {sized.machine.name} hold {there} workers, of which this definition uses {used}; the "
                "rest is paid for too: raise count or workers in its Gangs, or lower what a worker needs until a "
                "smaller machine holds it (accumulation_steps)"
            )
    if provider is Provider.KUBERAY and need.accelerator:
        yield (
            f"the nodeSelector of the workers must be a label of your machines with {need.accelerator}; until it is "
            "changed no pod starts"
        )


def add_jobs(commands: Any) -> None:
    """The `submit` and `stop` commands."""
    text = "hand a sweep to a running cluster, where it lives on by itself"
    submit = _sweep_command(commands, "submit", _submit, text)
    add_address(submit, required=True)
    submit.add_argument("--storage", required=True, help="URI, or a folder that every machine of the cluster sees")
    submit.add_argument("--follow", action="store_true", help="print what the sweep says until it ends")
    submit.add_argument("--folder", default="", help="folder to copy to the cluster (default: the definition's)")
    submit.add_argument(
        "--require", action="append", default=[], metavar="PACKAGE", help="a further package for pip; repeatable"
    )
    submit.add_argument(
        "--variable", action="append", default=[], metavar="NAME=VALUE", help="for the job's environment; repeatable"
    )
    submit.add_argument(
        "--data", dest="their_data", metavar="DIR", help="mirror folder, as the cluster's machines see it"
    )
    add_run(submit)
    submit.set_defaults(takes_suites=True)
    submit.epilog = "The same command again goes on where a stopped, failed or lost job left off."
    text = "have a running sweep write checkpoints and end, as one Ctrl-C does; what is open stays open"
    stop = _sweep_command(commands, "stop", _stop, text)
    where = stop.add_mutually_exclusive_group(required=True)
    add_address(where)
    where.add_argument("--storage", default="", help="its storage, from any machine that sees it, wherever it runs")


def add_run(command: argparse.ArgumentParser) -> None:
    """The options of a run, here or as a job; `run_words` gives them back."""
    command.add_argument("--gangs", type=int, help="how many gangs to use, instead of what the definition says")
    command.add_argument("--retry-failed", action="store_true", help="try failed trials again, under their numbers")
    command.add_argument(
        "--renew",
        action="store_true",
        help="make anew, under their numbers, the trials that other library versions, precision or device made",
    )
    command.add_argument(
        "--mirror",
        action="append",
        default=[],
        metavar="WHERE",
        help="show it in wandb[:PROJECT] or mlflow[:TRACKING_URI] too (extras of the same names)",
    )


def run_words(options: argparse.Namespace) -> list[str]:
    """The words of `sweep run` that say what those options say."""
    words = ["--gangs", str(options.gangs)] if options.gangs is not None else []
    words += ["--retry-failed"] * options.retry_failed + ["--renew"] * options.renew
    return words + [word for where in options.mirror for word in ("--mirror", where)]


def table_words(options: argparse.Namespace) -> list[str]:
    """The words of `sweep table` that say what its options say."""
    words = ["--format", options.format, *(word for where in options.where for word in ("--where", where))]
    words += ["--group-by", options.group_by] if options.group_by else []
    return words + ["--selectors"] * options.selectors + ["--with-published"] * options.with_published


def _sweep_command(commands: Any, name: str, act: Any, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    command.add_argument("sweep", metavar="NAME_OR_FILE", help="a preset such as 'lab', or a .py file with one Sweep")
    command.set_defaults(act=act)
    return command


def add_address(command: Any, *, required: bool = False) -> None:
    """The option that names a running cluster."""
    command.add_argument(
        "--address",
        default="",
        required=required,
        metavar="URL",
        help="dashboard of a running cluster, such as http://127.0.0.1:8265 behind `ray dashboard cluster.yaml`",
    )


def _submit(options: argparse.Namespace) -> int:
    from sweep.submit import Cluster, job_faults

    name, members = _names_of(options.sweep, options.gangs)
    refuse(
        f"the job of sweep {name!r}",
        (
            *job_faults(options.sweep, options.storage, options.folder),
            *_variable_faults(options.variable),
            *unknown_mirrors(options.mirror),
        ),
    )
    cluster = Cluster(options.address)
    data = {"SWEEP_DATA": options.their_data} if options.their_data else {}
    job = cluster.submit(
        options.sweep,
        sweep=name,
        members=members,
        storage=options.storage,
        requirements=options.require,
        folder=options.folder,
        variables=data | dict(text.split("=", 1) for text in options.variable),
        arguments=run_words(options),
    )
    for given in (options.storage, *options.mirror):
        if masked(given) != given:
            print(
                f"sweep: {masked(given)} is handed over with its credentials, which everyone reads who may see the "
                "cluster's dashboard; let the machines have them by a role or a profile of their own",
                file=sys.stderr,
            )
    print(f"job {job.id} runs sweep {job.sweep} on {options.address}")
    print(f"ask:  sweep status {options.sweep} --address {options.address}")
    print(f"end:  sweep stop {options.sweep} --address {options.address}")
    if not options.follow:
        return 0
    try:
        ended = cluster.follow(job)
    except KeyboardInterrupt:
        print(f"job {job.id} goes on; this command alone has ended", file=sys.stderr)
        return 130
    except ConnectionError as error:
        print(f"sweep: {error}; job {job.id} goes on", file=sys.stderr)
        return 1
    print(f"job {job.id} {ended.state.lower()}: {ended.message}", file=sys.stderr)
    return ended.exit_code


def _variable_faults(texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        if not re.match(r"[A-Za-z_]\w*=", text):
            yield f"--variable must be NAME=VALUE, with a name of letters, digits and '_', got {text!r}"


def _names_of(name_or_file: str, gangs: int | None) -> tuple[str, tuple[str, ...]]:
    """The name of a sweep, or that of a suite and those of its sweeps, once they can have so many gangs."""
    if name_or_file in SUITES:
        suite = SUITES[name_or_file]()
        return suite.name, tuple(with_gangs(sweep, gangs).name for sweep in suite.sweeps)
    return with_gangs(load(name_or_file), gangs).name, ()


def _stop(options: argparse.Namespace) -> int:
    from sweep.submit import Cluster

    if options.storage:
        return _stop_by_storage(options)
    cluster = Cluster(options.address)
    job = cluster.stop(cluster.latest(_name(options)))
    options.stopped = bool(job.members)  # with it all others of its suite
    print(f"job {job.id} {job.state.lower()}; `sweep submit` goes on with what is open")
    return 0 if job.ended else 1


def _stop_by_storage(options: argparse.Namespace) -> int:
    from sweep.cli import results_of
    from sweep.stop_request import ask_to_stop, await_end
    from sweep.submit import STOP_SECONDS

    results = results_of(options.sweep, options.storage)
    running = ask_to_stop(*results.place, results.name)
    if running is None:
        print("no process runs it now")
        return 0
    who = f"process {running['process']} on {running['host']}"
    print(f"{who} was asked to stop; each gang ends its step and writes a checkpoint", file=sys.stderr)
    ended = await_end(*results.place, results.name, running, seconds=STOP_SECONDS + 30)
    then = "`sweep run` or `sweep submit` goes on with what is open"
    print(f"{who} has ended; {then}" if ended else f"{who} still runs it; the request stays until it ends")
    return 0 if ended else 1


def ask(options: argparse.Namespace, *words: str) -> int:
    """Run `status` or `table` on the cluster, for the storage of the sweep's latest job."""
    from sweep.submit import Cluster

    cluster = Cluster(options.address)
    job = cluster.latest(_name(options))
    print(f"job {job.id} {job.state.lower()}{': ' + job.message if job.message else ''}", file=sys.stderr)
    answer = cluster.ask([words[0], _name(options), "--storage", job.storage, *words[1:]])
    print(answer.output, end="")
    print(answer.errors, end="", file=sys.stderr)
    return 0 if answer.succeeded else 1


def _name(options: argparse.Namespace) -> str:
    try:
        return load(options.sweep).name
    except Unreadable:
        if options.sweep.endswith(".py"):
            raise
        return options.sweep
