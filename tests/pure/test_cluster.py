"""A cluster is sized from the definition: machines that hold a gang, as many as the gangs need, refused where none."""

from __future__ import annotations

import json
import platform
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from sweep.cli import main
from sweep.cluster import MACHINES, USUAL, Provider, fleet, head_machine, need_of
from sweep.cluster_text import PYTHON_VERSION, RAY_VERSION, cluster_text
from sweep.plan import all_parameters
from sweep.presets import lab
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


@pytest.mark.parametrize("provider", list(Provider))
@pytest.mark.parametrize("need", [USUAL, need_of(lab())], ids=["gpus", "none"])
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
