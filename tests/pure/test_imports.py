"""Pure files import without the heavy libraries, and the package imports quickly enough to be asked anything."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: What may load a heavy library when it is imported, by package; every other file is pure.
IMPURE = {
    "sweep": (
        "across clearing columns compare comparisons conduct crossed data_check event_files expected_gain export_hub "
        "findings launch ledger live lock meter mirrors outcomes patience per_language power provenance published "
        "record_definition roll_call rows selection selectors show statistics stop_request streamed study tables "
        "tensorboard tensorboard_pictures tensorboard_view tune_adapters vigil"
    ),
    "sweep.report": "answer build figures inline page suite write",
    "trainables.data": (
        "batches counted halves image_files images kept layouts looking published raw reading remarked rows schema "
        "sentence_files sequences text_files tokens tower visual_files word_files"
    ),
    "trainables": (
        "dispatcher equipment gang listing mailbox outputs pins places rehearsal sealed_files shared_images "
        "storage_clock store trial under_way whole_files"
    ),
    "trainables.lab": "examples lexicon render sentences templates twins world",
    "trainables.lab.lexicon": "arabic germanic grammar greek indic isolating romance slavic swahili turkish",
    "trainables.model": "encoder heads lora lora_folded processor reader vision",
    "trainables.training": "attempt checkpoint evaluate feeds gradients loop memory ranks retrieval torch_state words",
}


def modules() -> list[str]:
    """Every module of the three packages."""
    paths = [path for package in ("search_spaces", "sweep", "trainables") for path in (ROOT / package).rglob("*.py")]
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths)
    return sorted(name.removesuffix(".__init__") for name in names)


EXCEPTED = {f"{package}.{name}" for package, names in IMPURE.items() for name in names.split()}
PURE = [name for name in modules() if name not in EXCEPTED]
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


def test_every_exception_is_a_file_that_is_there():
    assert EXCEPTED <= set(modules())
