"""Pure files import without the heavy libraries, and the package imports quickly enough to be asked anything."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PURE = [
    "search_spaces",
    "search_spaces.published",
    "sweep",
    "sweep.budget",
    "sweep.cluster",
    "sweep.cluster_commands",
    "sweep.cluster_text",
    "sweep.definition",
    "sweep.load",
    "sweep.paths",
    "sweep.plan",
    "sweep.plan_text",
    "sweep.points",
    "sweep.presets",
    "sweep.purse",
    "sweep.records",
    "sweep.resolve",
    "sweep.reuse",
    "sweep.selected",
    "sweep.simulate",
    "sweep.search",
    "sweep.selection_score",
    "sweep.sources",
    "sweep.task_text",
    "trainables.board",
    "trainables.canonical",
    "trainables.catalogue.intermediate",
    "trainables.catalogue.lab",
    "trainables.catalogue.lab_twins",
    "trainables.catalogue.own_texts",
    "trainables.catalogue.registry",
    "trainables.catalogue.xtreme",
    "trainables.catalogue.xtreme_m",
    "trainables.data.ccgbank",
    "trainables.data.fingerprint",
    "trainables.data.mixture",
    "trainables.data.places",
    "trainables.gangs",
    "trainables.machine",
    "trainables.scores",
    "trainables.selectors",
    "trainables.settings",
    "trainables.stages",
]
HEAVY = ["ray", "torch", "optuna", "transformers", "datasets", "pyarrow", "numpy", "tensorboard", "rich", "scipy"]

#: One process in which no heavy library can be loaded; a child of it per module, which has loaded none of the others.
IMPORTED = """
import importlib, os, sys, traceback
import argparse, dataclasses, difflib, hashlib, json, pathlib, statistics, typing, urllib.parse  # once for all
for name in {heavy!r}: sys.modules[name] = None
for module in {modules!r}:
    print("==", module, flush=True)
    if not (child := os.fork()):
        try:
            importlib.import_module(module)
        except BaseException:
            print(traceback.format_exc(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
print("==")
"""


@pytest.fixture(scope="module")
def errors() -> dict[str, str]:
    """What importing each module said; nothing where all went well."""
    code = IMPORTED.format(heavy=HEAVY, modules=PURE)
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0 and answer.stdout.endswith("==\n"), answer.stderr
    parts = (part.partition("\n") for part in answer.stdout.removesuffix("==\n").split("== ")[1:])
    return {module: said for module, _, said in parts}


@pytest.mark.parametrize("module", PURE)
def test_a_pure_file_imports_where_no_heavy_library_can(module, errors):
    assert errors[module] == ""
