"""The command line: parses words, calls the library, prints; decides nothing."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.cluster_commands import (
    add_address,
    add_cluster,
    add_jobs,
    add_run,
    ask,
    table_words,
)
from sweep.data_commands import MIRROR_HELP, add_data
from sweep.load import Unreadable, load
from sweep.masked import masked
from sweep.presets import SUITES
from sweep.reading_commands import add_reading
from sweep.simulation_commands import add_simulation, simulation, suite_simulation, with_gangs
from sweep.suite import Suite
from trainables.faults import Invalid, NotThere, refuse

if TYPE_CHECKING:
    from sweep.held import Held
    from sweep.plan import Plan
    from sweep.results import Results

DEFAULT_STORAGE = "sweeps"

#: What is told in a line and exits with 2: a user can mend it. Any other error is ours, and is shown whole.
_TOLD = (Unreadable, Invalid, NotThere, OSError)

_EPILOG = """examples:
  sweep plan lab                what the built-in lab sweep would do; starts nothing
  sweep run my_sweep.py         run the sweep that a Python file defines, or continue it
  sweep table my_sweep.py       accuracy per language and gain over the baseline
  sweep report lab              the answer, figures and tables as one HTML page
  sweep status lab              what is done, what is open
  sweep tasks                   the tasks that a definition can name
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. 0: all that was asked for is there; 1: not all of it is; 2: it could not be asked for; 3: the
    budget ran out.
    """
    options = _parser().parse_args(arguments)
    if getattr(options, "data", None):
        os.environ["SWEEP_DATA"] = options.data
    try:
        if getattr(options, "data", None):
            _refuse_no_mirror()
        if getattr(options, "sweep", None) in SUITES and not getattr(options, "takes_suites", False):
            suite = SUITES[options.sweep]()
            return getattr(options, "together", _each)(suite, options)
        return options.act(options)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("sweep: stopped", file=sys.stderr)
        return 130
    except _TOLD as error:
        print(f"sweep: {masked(str(error))}", file=sys.stderr)
        return 2


def _refuse_no_mirror() -> None:
    from trainables.data.places import mirror_faults

    refuse("the mirror folder", mirror_faults())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sweep",
        description="Does English intermediate-task training help a multilingual encoder across languages? "
        "Sweeps intermediate tasks, learning rates and mixing weights, and tables accuracy per language.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = _command(commands, "run", _run, "run a sweep, or continue it where it stopped")
    add_run(run)
    run.epilog = (
        "Exits with 0 only if every planned trial and confirmation is there, and with 3 if all that is missing is what "
        "the budget does not pay for; the same command continues. "
        "Ctrl-C once ends the step, writes checkpoints and says how to go on; twice stops at once."
    )
    plan = _command(commands, "plan", _plan, "print cells, trials, stages and cost; start nothing")
    plan.set_defaults(together=_plan_together)
    plan.epilog = (
        "All is counted as if it were yet to be run; a last line says what --storage holds of it already, and "
        "--simulate replays what is left."
    )
    add_simulation(plan)
    table = _command(commands, "table", _table, "print accuracy per cell and language; write Parquet and CSV")
    add_address(table)
    table.add_argument("--format", choices=("table", "csv", "markdown", "json"), default="table")
    table.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE", help="rows with that value only")
    table.add_argument("--group-by", metavar="GROUPING", help="family, script or pretraining instead of languages")
    text = "what each selector would have chosen of each run, and its gap to the oracle, instead of languages"
    table.add_argument("--selectors", action="store_true", help=text)
    text = "print published results on the same task beside one's own (XVNLI; formats table and markdown)"
    table.add_argument("--with-published", action="store_true", help=text)
    add_address(_command(commands, "status", _status, "print what is done and what is open"))
    add_cluster(commands)
    add_jobs(commands)
    add_data(commands)
    add_reading(commands)
    text = "list the tasks that a definition can name"
    tasks = commands.add_parser("tasks", help=text, description=_sentence(text))
    tasks.add_argument("task", nargs="?", help="one task, with where its files are looked for and how to get them")
    tasks.set_defaults(act=_tasks)
    for reads_data in (run, plan, tasks):
        reads_data.add_argument("--data", metavar="DIR", help=MIRROR_HELP)
    return parser


def _command(commands: Any, name: str, act: Callable[..., int], text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=_sentence(text))
    command.add_argument("sweep", metavar="NAME_OR_FILE", help="a preset such as 'lab', or a .py file with one Sweep")
    command.add_argument(
        "--storage",
        default=DEFAULT_STORAGE,
        help="folder or pyarrow URI of stages, ledger and tables (default: ./%(default)s)",
    )
    command.set_defaults(act=act)
    return command


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _run(options: argparse.Namespace) -> int:
    from sweep.launch import Interrupted, run
    from sweep.show import table_lines

    definition = with_gangs(load(options.sweep), options.gangs)
    try:
        results = run(
            definition,
            storage=options.storage,
            retry_failed=options.retry_failed,
            renew=options.renew,
            mirrors=options.mirror,
        )
    except Interrupted as error:
        print(f"sweep: {masked(str(error))}: {_again(options)}", file=sys.stderr)
        options.stopped = True
        return 1
    except KeyboardInterrupt:
        print(f"sweep: stopped at once. To go on: {_again(options)}", file=sys.stderr)
        options.stopped = True
        return 130
    try:
        results = results.still()
        lines, said, unanswered = table_lines(results), _chosen(results), results.unanswered
    except OSError as error:
        why = f"the tables could not be made ({masked(str(error))})"
        print(f"sweep: {why}; once they can be: {_again(options)}", file=sys.stderr)
        return 1
    print(lines)
    if said:
        print(said)
    try:
        for path in results.export():
            print(f"wrote {masked(str(path))}")
    except OSError as error:
        why = f"the tables could not be written ({masked(str(error))})"
        print(f"sweep: {why}; once they can be: {_again(options)}", file=sys.stderr)
        return 1
    print(f"TensorBoard: tensorboard --logdir {masked(results.tensorboard_directory)}")
    for digest, reason in unanswered.items():
        print(
            f"the answers of a reported run, of evaluation {digest}, are not whole: {reason}. The same command makes "
            "them again; where other library versions made the run, with --renew",
            file=sys.stderr,
        )
    if results.ran_out and not unanswered:
        print(
            f"The budget has run out ({results.standing().budget}): what is finished is reported above, `sweep status` "
            "says what was not begun. The same sweep with a larger budget goes on with it.",
            file=sys.stderr,
        )
        return 3
    for cell in results.standing().cells:
        if cell.absent:
            print(f"{cell.name} did not run: {cell.absent}", file=sys.stderr)
    for language, reason in results.unscored.items():
        print(f"no score in {language}: {reason}", file=sys.stderr)
    if unanswered and results.complete:
        return 1
    if not results.complete:
        print(
            "Not everything planned is there: see `sweep status`. The same command goes on with what is open, and with "
            "--retry-failed it tries failed trials again.",
            file=sys.stderr,
        )
        return 1
    return 0


def _again(options: argparse.Namespace) -> str:
    """The command that goes on."""
    words = ["sweep run", options.sweep]
    if options.storage != DEFAULT_STORAGE:
        words += ["--storage", masked(options.storage)]
    for name in ("data", "gangs", "mirror"):
        given = getattr(options, name, None)
        for value in given if isinstance(given, list) else [given] if given is not None else []:
            words += [f"--{name}", masked(str(value))]
    words += [f"--{name}" for name in ("retry-failed", "renew") if getattr(options, name.replace("-", "_"), False)]
    return " ".join(words)


def _each(suite: Suite, options: argparse.Namespace) -> int:
    """One command for every sweep of a suite in turn; the worst of their exit codes."""
    worst = 0
    if options.act is _run:
        _tell_unusable(suite, options.storage)
    for sweep in suite.sweeps:
        print(f"== {sweep.name}", file=sys.stderr)
        member = argparse.Namespace(**{**vars(options), "sweep": sweep.name})
        try:
            code = options.act(member)
        except BrokenPipeError:
            raise
        except _TOLD as error:
            print(f"sweep: {masked(str(error))}", file=sys.stderr)
            code = 1
        if getattr(member, "stopped", False):
            return code
        worst = max(worst, code)
    if options.act is _table and not (options.where or options.group_by or options.address):
        _print_across(suite, options)
    return worst


def _tell_unusable(suite: Suite, storage: str) -> None:
    """Say before the first gang which sweeps have data that cannot be used: their turn may come days later."""
    from sweep.resolve import looked_up, with_rows_read
    from trainables.store import cache_folder

    for sweep in suite.sweeps:
        try:
            with_rows_read(looked_up(sweep, fetch=False), cache_folder(storage))
        except (Invalid, OSError) as error:
            print(f"sweep: {sweep.name} cannot run as it is: {error}", file=sys.stderr)


def _print_across(suite: Suite, options: argparse.Namespace) -> None:
    """The means over the targets of a suite that have been run."""
    from sweep.rows import rows_text
    from sweep.suite_results import SuiteResults

    try:
        results = SuiteResults.open(options.storage, suite)
    except NotThere:
        return
    print(f"== {suite.name}: means over {len(results.targets)} of {len(suite.sweeps)} targets", file=sys.stderr)
    shown = ["cell", "targets", "number", "accuracy", "gain", "seeds", "absent_reason", "remark"]
    print(rows_text(results.across(), options.format, shown))


def _plan_together(suite: Suite, options: argparse.Namespace) -> int:
    from sweep.plan import plan
    from sweep.plan_text import remarks_text
    from sweep.power import suite_power_text
    from sweep.resolve import looked_up
    from sweep.suite import suite_text

    found = [looked_up(with_gangs(sweep, options.gangs), fetch=False) for sweep in suite.sweeps]
    absent = {name: why for one in found for name, why in one.absent.items()}
    planned = tuple(plan(one.sweep) for one in found)
    print(suite_text(suite, planned, absent, next((one.looked_in for one in found if one.looked_in), "")))
    holds = [
        _held(one, options, of.absent_cells, f" of {one.sweep.name}") for one, of in zip(planned, found, strict=True)
    ]
    if remarks := {name: told for one in found for name, told in one.remarks.items()}:
        print(remarks_text(remarks))
    print(suite_power_text([one.sweep for one in found]))
    if options.simulate:
        print("\n" + suite_simulation(planned, options, holds))
    return 0


def _plan(options: argparse.Namespace) -> int:
    from sweep.plan import plan
    from sweep.plan_text import absent_text, plan_text, remarks_text
    from sweep.power import power_text
    from sweep.resolve import looked_up

    found = looked_up(with_gangs(load(options.sweep), options.gangs), fetch=False)
    planned = plan(found.sweep)
    print(plan_text(planned))
    if found.absent:
        print(absent_text(found.absent, found.looked_in))
    if found.remarks:
        print(remarks_text(found.remarks))
    if power := power_text(planned.sweep):
        print(power)
    holds = _held(planned, options, found.absent_cells)
    if options.simulate:
        print("\n" + simulation(planned, options, holds))
    return 0


def _held(planned: Plan, options: argparse.Namespace, absent: Mapping[str, str], whose: str = "") -> Held | None:
    """What the storage holds of a plan, which is printed; None where there is none, or another definition's."""
    if options.storage == DEFAULT_STORAGE and not Path(options.storage).is_dir():
        return None
    from sweep.held import held_text, look

    where = f"{masked(options.storage)}{whose}"
    try:
        holds = look(planned, options.storage, absent)
    except Invalid as error:
        print(f"held     in {where}: nothing that this definition could go on with. {masked(str(error))}")
        return None
    except OSError as error:
        why = f"the storage must answer, got {masked(str(error))}; make it readable and plan again"
        print(f"held     in {where}: not known, so all counts as yet to be run; {why}")
        return None
    print(held_text(planned, holds, where))
    return holds


def _table(options: argparse.Namespace) -> int:
    if options.address:
        return ask(options, "table", *table_words(options))
    from sweep.show import published_lines, table_lines

    if options.with_published and options.format in ("csv", "json"):
        raise Unreadable(f"--with-published needs --format table or markdown, got {options.format}")
    results = results_of(options.sweep, options.storage).still()
    if options.where or options.group_by or options.selectors:
        print(_some_rows(results, options))
        return 0
    published = published_lines(results, format=options.format) if options.with_published else ""
    print(table_lines(results, format=options.format))
    if options.format in ("table", "markdown"):
        if said := _chosen(results):
            print(f"\n{said}" if options.format == "markdown" else said)
    elif why := results.unread():
        print(f"sweep: {why}", file=sys.stderr)
    if published:
        print(f"\n{published}")
    if results.torn:
        raise Unreadable(
            f"the ledger's files must be whole before tables are written, got torn ones: {', '.join(results.torn)}; "
            "the tables that were written before stay as they are, and `sweep run` does the lost work again"
        )
    for path in results.export():
        print(f"wrote {masked(str(path))}", file=sys.stderr)
    return 0


def _some_rows(results: Results, options: argparse.Namespace) -> str:
    """The rows asked for, of groups or of languages; nothing is exported, since a part is no table of the sweep."""
    from sweep.rows import only, rows_text

    if options.selectors:
        table = only(results.selectors(), options.where or ["language=mean_without_en"])
        shown = [
            "cell",
            "seed",
            "selector",
            "is_reported",
            "steps",
            "english_dev",
            "language",
            "accuracy",
            "oracle_gap",
        ]
        return rows_text(table, options.format, shown)
    groups = bool(options.group_by)
    table = only(results.per_group(options.group_by) if groups else results.per_language(), options.where)
    of = ["group", "languages"] if groups else ["language"]
    return rows_text(table, options.format, ["cell", *of, "accuracy", "gain", "seeds", "remark"])


def _chosen(results: Results) -> str:
    """What the selectors come to, and how much was reused, in a line each where there is something to say."""
    from sweep.reuse import reuse_text
    from sweep.selectors import selector_text

    why = results.unread()
    chosen = f"{why[0].upper()}{why[1:]}." if why else ""
    said = (chosen or selector_text(results.standing(), results.selectors().to_pylist()), reuse_text(results))
    return "\n".join(text for text in said if text)


def _status(options: argparse.Namespace) -> int:
    if options.address:
        return ask(options, "status")
    from sweep.live import live_lines
    from sweep.show import status_lines

    results = results_of(options.sweep, options.storage)
    print(status_lines(results))
    print(masked(live_lines(results)))
    return 0


def results_of(name_or_file: str, storage: str) -> Results:
    """The results of a sweep by its name or its definition, as a storage holds them."""
    from sweep.results import Results

    try:
        name = load(name_or_file).name
    except Unreadable:
        if name_or_file.endswith(".py"):
            raise
        name = name_or_file
    return Results.open(storage, name)


def _tasks(options: argparse.Namespace) -> int:
    from sweep.task_text import task_lines, tasks_text
    from trainables.catalogue.registry import all_tasks, task

    _refuse_no_mirror()
    print(tasks_text(all_tasks().values()) if options.task is None else task_lines(task(options.task)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
