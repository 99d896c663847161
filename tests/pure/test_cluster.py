"""A cluster is sized from the definition: machines that hold a gang, as many as the gangs need, refused where none."""

from __future__ import annotations

import json
import platform
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sweep.cli import main
from sweep.cluster import MACHINES, USUAL, Provider, fleet, head_machine, need_of, need_together
from sweep.cluster_names import PYTHON_VERSION, RAY_VERSION, UV_VERSION, Names, in_yaml
from sweep.cluster_text import cluster_text
from sweep.plan import all_parameters
from sweep.presets import lab
from tests.examples import of_examples
from trainables.catalogue.encoder import LocalEncoder
from trainables.faults import Invalid
from trainables.gangs import Gangs

ROOT = Path(__file__).parents[2]
ONE_GPU = Gangs(count=8, gpus_per_worker=1.0, cpus_per_worker=4)


@pytest.fixture
def xlmr(tmp_path):
    """A definition over an encoder of XLM-R base's sizes."""
    sizes = {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
    (tmp_path / "config.json").write_text(json.dumps(sizes | {"vocab_size": 250_002}))
    base = lab()
    encoder = replace(base.encoder, text=LocalEncoder(path=str(tmp_path)), maximum_tokens=128)
    return replace(base, encoder=encoder, gangs=ONE_GPU)


def test_xlmr_base_has_the_parameters_that_its_paper_counts(xlmr):
    assert all_parameters(xlmr.encoder) == pytest.approx(277e6, rel=0.01)


def test_one_gang_per_gpu_takes_one_machine_for_each_gang(xlmr):
    sized = fleet(need_of(xlmr), Provider.AWS)
    assert (sized.machine.gpus, sized.nodes, sized.workers_per_node) == (1, 8, 1)
    assert need_of(xlmr).gpu_gigabytes > 277e6 * 16 / 1e9


def test_a_gang_of_four_takes_a_machine_with_four_gpus(xlmr):
    sized = fleet(need_of(replace(xlmr, gangs=replace(ONE_GPU, count=2, workers=4))), Provider.AWS)
    assert (sized.machine.name, sized.nodes) == ("g5.12xlarge", 2)


def test_a_gang_larger_than_any_machine_is_spread_over_several(xlmr):
    settings = replace(xlmr.target_settings, batch_size=96)
    wide = replace(
        xlmr,
        cells=(xlmr.baseline,),
        pretrain=None,
        align_images=None,
        intermediate_settings=None,
        target_settings=settings,
        gangs=replace(ONE_GPU, count=2, workers=12),
    )
    sized = fleet(need_of(wide), Provider.AWS)
    assert (sized.workers_per_node, sized.nodes) == (8, 4)


def test_gangs_that_share_a_gpu_share_a_machine(xlmr):
    half = replace(ONE_GPU, gpus_per_worker=0.5, cpus_per_worker=2)
    need = need_of(replace(xlmr, gangs=half))
    assert need.processors_per_worker == 2
    assert fleet(replace(need, gpu_gigabytes=10.0, gigabytes=6.0), Provider.AWS).nodes == 4


def test_more_batch_needs_more_memory_and_accumulation_less(xlmr):
    large = replace(xlmr, target_settings=replace(xlmr.target_settings, batch_size=128))
    small = replace(large, target_settings=replace(large.target_settings, accumulation_steps=4))
    needs = [need_of(one).gpu_gigabytes for one in (large, xlmr, small)]
    assert needs[0] > needs[1] >= needs[2]


def test_a_named_accelerator_is_the_only_one_taken(xlmr):
    named = replace(xlmr, gangs=replace(ONE_GPU, accelerator="A100"))
    assert fleet(need_of(named), Provider.GCP).machine.accelerator == "A100"
    with pytest.raises(Invalid, match=r"one worker must fit on a machine: it needs .* on accelerator 'A100'"):
        fleet(need_of(named), Provider.AWS)


def test_what_no_machine_holds_is_refused_with_what_to_change(xlmr):
    with pytest.raises(Invalid, match=r"it needs 500 GB of GPU memory, 1 GPU and .* raise accumulation_steps"):
        fleet(replace(need_of(xlmr), gpu_gigabytes=500.0), Provider.GCP)


def test_a_sweep_without_gpus_rents_none():
    sized = fleet(need_of(lab()), Provider.AWS)
    assert sized.machine.gpus == 0
    assert "GPU" not in cluster_text(need_of(lab()), Provider.AWS).split("available_node_types:")[1]


@pytest.mark.parametrize("provider", list(MACHINES))
def test_machines_stand_smallest_first_and_hold_together(provider):
    gpus = [machine for machine in MACHINES[provider] if machine.gpus]
    assert [machine.gpus for machine in gpus] == sorted(machine.gpus for machine in gpus)
    assert all(bool(m.accelerator) == bool(m.gpu_gigabytes) == bool(m.gpus) for m in MACHINES[provider])


def test_cluster_yaml_is_what_the_command_writes_for_eight_gpus():
    assert (ROOT / "cluster.yaml").read_text() == cluster_text(USUAL, Provider.AWS)


NAMED = replace(USUAL, accelerator="H100", gpu_gigabytes=60.0)


@pytest.mark.parametrize("provider", list(Provider))
@pytest.mark.parametrize("need", [USUAL, need_of(lab()), NAMED], ids=["gpus", "none", "named"])
def test_every_value_has_its_reason_beside_or_above_it(provider, need):
    text = cluster_text(need, provider)
    lines = text.splitlines()
    assert [lines[line].strip() for line in unexplained(yaml.compose(text), lines)] == []


def test_a_value_without_a_reason_is_found():
    lines = ["# a reason", "a: 1", "b: 2", "c:  # a reason", "  d: 3", "  e:", "    f: 4", "g: {h: 5}  # a reason"]
    assert list(unexplained(yaml.compose("\n".join(lines)), lines)) == [2, 6]


def unexplained(node: yaml.Node, lines: list[str], *, given: bool = False) -> Iterator[int]:
    """Lines that set a value without a comment on them, directly above them, or so at what holds them."""
    if isinstance(node, yaml.ScalarNode):
        if not given and not has_reason(node.start_mark.line, lines):
            yield node.start_mark.line
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from unexplained(item, lines, given=given and not isinstance(item, yaml.MappingNode))
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = has_reason(key.start_mark.line, lines)
            deep = isinstance(value, yaml.CollectionNode)
            yield from unexplained(value, lines, given=here or (given and not deep))


def has_reason(line: int, lines: list[str]) -> bool:
    return "# " in lines[line] or (line > 0 and lines[line - 1].strip().startswith("# "))


def test_the_pinned_python_is_one_of_the_projects_and_that_of_the_image():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    least = project["requires-python"].removeprefix(">=")
    pinned = [int(part) for part in PYTHON_VERSION.split(".")]
    assert len(pinned) == 3 and pinned >= [int(part) for part in least.split(".")]
    image = f"rayproject/ray:{RAY_VERSION}-py{pinned[0]}{pinned[1]}-gpu"
    assert f"FROM {image}\n" in (ROOT / "cluster/Dockerfile").read_text()
    text = cluster_text(USUAL, Provider.AWS)
    assert text.count(f"SWEEP_PYTHON={PYTHON_VERSION}") == text.count("cluster/node.sh ") == 4


def test_the_policies_on_amazon_are_of_the_profiles_named_and_cover_what_the_configuration_asks():
    policies = {path.stem: json.loads(path.read_text())["Statement"] for path in (ROOT / "cluster/aws").glob("*.json")}
    actions = {name: [one["Action"] for one in statements] for name, statements in policies.items()}
    text = cluster_text(USUAL, Provider.AWS)
    for name in ("worker", "head"):
        assert f"Name: transfer-sweep-{name}" in text
        assert "s3:PutObject" in str(actions[name])
    for action in ("ec2:RunInstances", "ec2:TerminateInstances", "iam:PassRole", "ssm:GetParameters"):
        assert action in str(actions["head"]) and action not in str(actions["worker"])
    (passed,) = (one["Resource"] for one in policies["head"] if one["Action"] == ["iam:PassRole"])
    assert passed.endswith("role/transfer-sweep-worker")
    images = re.findall(r"resolve:ssm:(/aws/service/\w+/)", text)
    (readable,) = (one["Resource"] for one in policies["head"] if "ssm:GetParameters" in one["Action"])
    assert all(any(f"parameter{image}*" in resource for resource in readable) for image in images)


def test_the_image_takes_the_packages_of_the_project_and_no_environment_along():
    rules = (ROOT / "cluster/Dockerfile.dockerignore").read_text().splitlines()
    assert "**" in rules
    taken = {rule[1:] for rule in rules if rule.startswith("!")}
    assert {"sweep", "search_spaces", "trainables", "pyproject.toml", "README.md", "LICENSE"} <= taken
    assert not taken & {".venv", ".git", "sweeps", "."}


@pytest.mark.parametrize("provider", list(MACHINES))
def test_the_head_grows_with_the_gangs(provider):
    heads = [head_machine(replace(USUAL, gangs=gangs), provider).gigabytes for gangs in (1, 8, 200)]
    assert heads == [16, 16, 256]
    with pytest.raises(Invalid, match=r"the head must hold processes of every gang, at most 213 on .* got 300 gangs"):
        head_machine(replace(USUAL, gangs=300), provider)
    memory = yaml.safe_load(cluster_text(replace(USUAL, gangs=200), Provider.KUBERAY))["spec"]["headGroupSpec"]
    assert memory["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] == "204Gi"


def test_the_command_prints_a_configuration_with_its_variables(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = ["--provider", "local", "--head", "10.0.0.1", "--workers", "10.0.0.2", "10.0.0.3", "--ssh-user", "me"]
    assert main(["cluster", "--for", "lab", *words, "--variable", "SWEEP_VENV=/opt/venv"]) == 0
    said = capsys.readouterr()
    assert "head_ip: 10.0.0.1" in said.out and "worker_ips: [10.0.0.2, 10.0.0.3]" in said.out
    assert said.out.count("SWEEP_VENV=/opt/venv") == 4
    assert "no GPU" in said.err


def test_an_interpreter_of_ones_own_must_be_of_the_version_all_the_same(capsys):
    assert main(["cluster", "--provider", "local", "--variable", "SWEEP_PYTHON=/opt/python"]) == 0
    said = capsys.readouterr().out
    assert said.count("SWEEP_PYTHON=/opt/python ") == 4
    assert said.count(f"SWEEP_PYTHON_VERSION={platform.python_version()} ") == 4
    assert main(["cluster", "--provider", "local", "--variable", "SWEEP_INSTALL=0"]) == 0
    assert capsys.readouterr().out.count(f"SWEEP_PYTHON={platform.python_version()} ") == 4


@pytest.mark.parametrize("provider", [Provider.AWS, Provider.GCP, Provider.LOCAL])
def test_the_python_that_is_brought_is_the_projects_whatever_runs_the_command(provider, monkeypatch, capsys):
    monkeypatch.setattr(platform, "python_version", lambda: "3.14.9")
    assert main(["cluster", "--provider", str(provider)]) == 0
    said = capsys.readouterr().out
    assert said.count(f"SWEEP_PYTHON={PYTHON_VERSION} ") == 4
    assert "3.14.9" not in said


def test_the_uv_that_machines_get_knows_the_python_that_it_is_to_bring(tmp_path):
    uv = pytest.importorskip("uv", reason="uv comes with the test extra")
    assert f"https://astral.sh/uv/{UV_VERSION}/install.sh" in (ROOT / "cluster/node.sh").read_text()
    words = ["python", "list", "--all-versions", "--only-downloads", "--offline", "--no-config"]
    asked = [uv.find_uv_bin(), *words, "--output-format", "json"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=True, env={"HOME": str(tmp_path)})
    known = {one["version"] for one in json.loads(answer.stdout) if one["implementation"] == "cpython"}
    assert version("uv") == UV_VERSION
    assert PYTHON_VERSION in known
    assert "3.11.99" not in known


def test_pods_have_the_ray_of_their_image(monkeypatch, capsys):
    monkeypatch.setattr("sweep.cluster_commands.version", lambda name: "2.60.9")
    assert main(["cluster", "--provider", "kuberay"]) == 0
    assert f'rayVersion: "{RAY_VERSION}"' in capsys.readouterr().out
    assert main(["cluster", "--provider", "aws"]) == 0
    assert capsys.readouterr().out.count("SWEEP_RAY=2.60.9 ") == 4


# How much of what is rented is used


def test_one_gang_of_one_large_gpu_rents_one_gpu(capsys):
    assert main(["cluster", "--for", "phang2020-xnli"]) == 0
    said = capsys.readouterr()
    assert "InstanceType: p5.4xlarge  # 1 × H100 80 GB" in said.out and "p5.48xlarge" not in said.out
    assert said.err == ""


def test_workers_that_are_rented_and_not_used_are_told(tmp_path, capsys):
    def definition(gangs: str) -> str:
        file = tmp_path / "mine.py"
        file.write_text(
            "from dataclasses import replace\nfrom sweep import Gangs\nfrom sweep.presets import lab\n"
            f"sweep = replace(lab(), gangs=Gangs({gangs}, gpus_per_worker=1.0, accelerator='H100'))\n"
        )
        return str(file)

    assert main(["cluster", "--for", definition("count=1"), "--provider", "gcp"]) == 0
    assert "1 × a3-highgpu-8g hold 8 workers, of which this definition uses 1; the rest is paid for too: raise" in (
        capsys.readouterr().err
    )
    assert main(["cluster", "--for", definition("count=3, workers=4"), "--provider", "gcp"]) == 0
    assert "2 × a3-highgpu-8g hold 16 workers, of which this definition uses 12;" in capsys.readouterr().err
    assert main(["cluster", "--for", definition("count=8"), "--provider", "gcp"]) == 0
    assert capsys.readouterr().err == ""


def test_a_suite_gets_the_machines_of_its_largest_sweep(capsys):
    assert main(["cluster", "--for", "phang2020"]) == 0
    together = capsys.readouterr().out
    assert "# A cluster on aws for suite 'phang2020' (9 sweeps, one after the other).\n" in together
    assert "InstanceType: p5.4xlarge" in together


def test_the_largest_need_of_several_is_the_largest_of_everything():
    wide, deep = replace(USUAL, workers=4, gigabytes=1.0), replace(USUAL, gangs=2, gpu_gigabytes=60.0, accelerator="L4")
    both = need_together("both", [wide, deep])
    assert both == replace(USUAL, sweep="both", workers=4, gpu_gigabytes=60.0, accelerator="L4")
    with pytest.raises(Invalid, match=r"must name one accelerator, got A100, L4; make a cluster for each sweep"):
        need_together("both", [deep, replace(USUAL, accelerator="A100")])
    with pytest.raises(Invalid, match=r"all of its sweeps must use GPUs or none, got some of each"):
        need_together("both", [USUAL, replace(USUAL, gpus_per_worker=0.0)])


def test_who_names_a_gpu_on_kubernetes_is_told_of_the_label_that_chooses_it(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import replace\nfrom sweep import Gangs\nfrom sweep.presets import lab\n"
        "sweep = replace(lab(), gangs=Gangs(gpus_per_worker=1.0, accelerator='A100'))\n"
    )
    assert main(["cluster", "--for", str(file), "--provider", "kuberay"]) == 0
    said = capsys.readouterr()
    assert "nodeSelector: {nvidia.com/gpu.product: CHANGE-ME-A100}" in said.out
    assert "the nodeSelector of the workers must be a label of your machines with A100" in said.err
    assert "nodeSelector" not in cluster_text(USUAL, Provider.KUBERAY)


# What the user calls things


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--name", "x: y"], "the cluster's name must be at most 60 letters, digits and hyphens"),
        (["--name", "X", "--provider", "kuberay"], "the cluster's name must be at most 60 small letters, digits and"),
        (["--name", "a" * 61], "the cluster's name must be at most 60"),
        (["--head", "a b"], "an address must be a host's name or number alone, got 'a b'; separate several by spaces"),
        (["--workers", "a,b"], "an address must be a host's name or number alone, got 'a,b'"),
        (["--ssh-user", "a b"], "ssh user must be one word"),
        (["--ssh-key", "a\nb"], "ssh key must be a line of printable characters, got 'a\\nb'"),
        (["--region", "a: b"], "region must be one word of letters, digits and hyphens or dots, got 'a: b'"),
        (["--variable", "A=\x07"], "environment must be a line of printable characters"),
        (["--variable", "=x"], "--variable must be NAME=VALUE"),
    ],
)
def test_names_that_no_provider_takes_are_refused(words, fault, tmp_path, capsys):
    given = ["--provider", "local", "--head", "h", "--workers", "w", *words]
    assert main(["cluster", *given, "--output", str(tmp_path / "cluster.yaml")]) == 2
    assert fault in capsys.readouterr().err
    assert not (tmp_path / "cluster.yaml").exists()


WORDS = st.sampled_from(["on", "null", "1.5", "12:30", "~", "- a", "a: b", "a #b", "it's", '"', "{", "${HOME} x", ""])
TEXTS = (
    st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"], include_characters=" "), max_size=9) | WORDS
)


@of_examples(1.0)
@given(
    key=TEXTS,
    value=TEXTS,
    folder=TEXTS,
    user=st.sampled_from(["me", "no", "y", "null"]),
    address=st.sampled_from(["10.0.0.1", "1", "host", "off", "1e3", "12:30"]),
)
def test_what_is_written_is_read_as_it_was_given(key, value, folder, user, address):
    names = Names(
        checkout=folder, ssh_key=key, ssh_user=user, head=address, workers=("w1", address), environment=(("A", value),)
    )
    read = yaml.safe_load(cluster_text(USUAL, Provider.LOCAL, names))
    assert read["provider"] == {"type": "local", "head_ip": address, "worker_ips": ["w1", address]}
    assert read["auth"] == {"ssh_user": user, "ssh_private_key": key}
    assert read["file_mounts"]["~/transfer-sweep"] == folder
    (command,) = read["worker_setup_commands"]
    assert f"A={value}" in shlex.split(command)


def test_words_that_yaml_takes_for_something_else_are_quoted():
    for text in ("no", "On", "null", "1", "1.5", "12:30", "~", "-", "=", "a: b", "#", ""):
        assert yaml.safe_load(f"[{in_yaml(text)}]") == [text]
    for text in (".", "~/.ssh/id", "/a/b", "10.0.0.1", "CHANGE-ME/transfer-sweep:latest", "me@there"):
        assert in_yaml(text) == text


@pytest.mark.parametrize(
    ("words", "faults"),
    [
        (["--provider", "aws"], ["--check is for machines of one's own, --provider local, got aws"]),
        (["--provider", "local"], [f"{one} must be given" for one in ("--head", "--workers", "--ssh-user")]),
        (["--provider", "local", "--head", "h", "--workers", "w"], ["--ssh-user must be given, got none"]),
    ],
)
def test_a_check_needs_machines_and_somebody_to_log_in_as(words, faults, capsys):
    assert main(["cluster", *words, "--check"]) == 2
    said = capsys.readouterr().err
    assert all(fault in said for fault in faults)
    assert "SSH" not in said


def test_a_variable_without_a_value_is_refused(capsys):
    assert main(["cluster", "--provider", "local", "--variable", "SWEEP_VENV"]) == 2
    assert (
        "--variable must be NAME=VALUE, with a name of letters, digits and '_', got 'SWEEP_VENV'"
        in capsys.readouterr().err
    )


def test_what_is_asked_of_an_elastic_gang_is_checked():
    with pytest.raises(Invalid, match=r"idle_seconds must be a number above 0.*\n.*gang_hours must be"):
        Gangs(elastic=True, idle_seconds=0, gang_hours=-1)
    with pytest.raises(Invalid, match="gpus_per_worker must be above 0 where an accelerator is named"):
        Gangs(accelerator="A100")
