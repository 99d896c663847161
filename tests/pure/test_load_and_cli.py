"""Claims about what a user is told: every mistake in a definition, a file, a storage or a word has one clear answer."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweep.cli import main
from sweep.load import Unreadable, load
from sweep.presets import PRESETS, SUITES
from tests.pure import fake_sweep as fake
from tests.pure.small_sweep import small_sweep
from trainables.catalogue.registry import TASKS, gather, task
from trainables.catalogue.xtreme_m import XVNLI_LANGUAGES
from trainables.data import places
from trainables.faults import Invalid

ROOT = Path(__file__).parents[2]

HEAD = """
from dataclasses import replace
from search_spaces import Cell, CellRole, transfer_grid
from sweep import GangKind, Gangs, Search, Sweep
from trainables.catalogue import lab
from trainables.catalogue.registry import task
from trainables.catalogue.xtreme_m import parquet_task
from trainables.settings import Settings

SETTINGS = Settings(learning_rate=1e-3, maximum_steps=10, batch_size=8)
"""
SWEEP = """
sweep = Sweep(
    name="mine", target=lab.VISUAL_NLI, encoder=lab.ENCODER, cells=(Cell(name="none", role=CellRole.BASELINE),),
    target_settings=SETTINGS,
)
"""
REHEARSED = SWEEP + "sweep = replace(sweep, gangs=Gangs(kind=GangKind.REHEARSAL))\n"
COMMANDS = ("run", "plan", "table", "status", "tasks")


@pytest.fixture
def define(tmp_path):
    """Writes a definition file and gives its path."""

    def written(text: str, *, head: str = HEAD) -> str:
        path = tmp_path / "mine.py"
        path.write_text(head + text)
        return str(path)

    return written


def reason(path: str) -> str:
    with pytest.raises(Unreadable) as unreadable:
        load(path)
    return str(unreadable.value)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Definition files


def test_a_file_with_one_sweep_is_that_sweep_whatever_it_is_called(define):
    assert load(define(SWEEP)).name == "mine"
    assert load(define(SWEEP.replace("sweep =", "anything ="))).name == "mine"


def test_of_several_sweeps_the_one_called_sweep_is_meant(define):
    assert load(define(SWEEP + 'other = replace(sweep, name="other")\n')).name == "mine"


def test_one_sweep_under_two_names_is_one(define):
    assert load(define(SWEEP.replace("sweep =", "a =") + "b = a\n")).name == "mine"


def test_the_neighbours_of_a_definition_file_can_be_imported(define, tmp_path):
    (tmp_path / "neighbour_of_mine.py").write_text("NAME = 'from_a_neighbour'\n")
    path = define("from neighbour_of_mine import NAME\n" + SWEEP.replace('"mine"', "NAME"))
    assert load(path).name == "from_a_neighbour"
    assert str(tmp_path) not in sys.path


def test_a_definition_may_hold_a_dataclass_of_its_own(define):
    head = "from __future__ import annotations\nfrom dataclasses import dataclass\n" + HEAD
    assert load(define("@dataclass\nclass Own:\n    x: int = 1\n" + SWEEP, head=head)).name == "mine"


def test_a_file_without_a_sweep_or_with_several_says_what_to_do(define):
    end = "must define one Sweep, or one called 'sweep', got {}; name the one to run 'sweep'"
    assert end.format("none") in reason(define(""))
    two = SWEEP.replace("sweep =", "b =") + 'a = replace(b, name="other")\n'
    assert end.format("2 of them (a, b)") in reason(define(two))


def test_a_missing_file_is_named_with_the_folder_that_was_searched(tmp_path):
    said = reason(str(tmp_path / "nothing.py"))
    assert said.startswith(f"the definition file must exist, got '{tmp_path}/nothing.py'; check the path (from ")


@pytest.mark.parametrize(
    ("given", "meant"),
    [("lba", "lab"), ("phang2021", "phang2020"), ("lab_ful", "lab_full"), ("phang2020-xnl", "phang2020-xnli")],
)
def test_an_unknown_name_is_answered_with_the_nearest_of_presets_suites_and_their_sweeps(given, meant):
    sweeps = [sweep.name for suite in SUITES.values() for sweep in suite().sweeps]
    assert reason(given) == (
        "a sweep must be the name of a preset, of a suite or of a suite's sweep, or the path of a .py file, got "
        f"{given!r}; did you mean {meant!r}? Known: {', '.join(sorted([*PRESETS, *SUITES, *sweeps]))}"
    )


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("1 / 0\n", "(1 / 0)", "ZeroDivisionError: division by zero"),
        ("def broken(:\n", "(def broken(:)", "SyntaxError: invalid syntax"),
        ("import nothing_of_that_name\n", "(import nothing_of", "ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)\n", "(raise SystemExit(3))", "SystemExit: 3"),
        (
            "Settings(learing_rate=1e-3, maximum_steps=10, batch_size=8)\n",
            "(Settings(learing_rate=1e-3",
            "unexpected keyword argument 'learing_rate'; did you mean 'learning_rate'? Known: accumulation_steps",
        ),
        (
            "replace(SETTINGS, learing_rate=1e-3)\n",
            "(replace(SETTINGS",
            "unexpected keyword argument 'learing_rate'; did you mean 'learning_rate'?",
        ),
        (
            "transfer_grid([lab.NLI], mixture=[])\n",
            "(transfer_grid(",
            "unexpected keyword argument 'mixture'; did you mean 'mixtures'?",
        ),
        ("Search(trails=3)\n", "(Search(trails=3))", "'trails'; did you mean 'trials'?"),
        (
            "task('lab_nly')\n",
            "(task('lab_nly'))",
            "NotThere: a task must be one of the catalogue, got 'lab_nly'; did you mean 'lab_nli'? Known: ",
        ),
        (
            "from sweep import Trial\n",
            "(from sweep import Trial)",
            "nown: Budget, CmaEs, ExpectedGain, GangKind, Gangs, Gauss",
        ),
        ("lab.NLY\n", "(lab.NLY)", "no attribute 'NLY'; did you mean 'NLI'? Known: "),
        (
            "from trainables.catalogue.lab import HELASWAG\n",
            "(from trainables",
            "did you mean 'HELLASWAG'? Known: ",
        ),
        ("CellRole.BASLINE\n", "(CellRole.BASLINE)", "did you mean 'BASELINE'? Known: BASELINE, COMPUTE_MATCHED"),
    ],
)
def test_an_error_in_a_file_is_told_with_its_line_and_the_nearest_right_name(define, text, line, says):
    said = reason(define(text))
    number = HEAD.count("\n") + 1
    assert f"mine.py, line {number} {line}" in said
    assert says in said


def test_an_invalid_value_is_told_with_its_line_and_all_its_faults(define):
    said = reason(define("Settings(learning_rate=0, maximum_steps=0, batch_size=8)\n"))
    assert f"mine.py, line {HEAD.count(chr(10)) + 1} (Settings(learning_rate=0" in said
    assert "  - learning_rate must be above 0" in said and "  - maximum_steps must be a whole number" in said


# The catalogue


def test_a_name_that_two_tasks_have_is_refused():
    (nli,) = (TASKS["lab_nli"],)
    assert task("lab_nli") is nli
    with pytest.raises(ValueError, match="every task must have a name of its own, got 'lab_nli' twice; rename one"):
        gather([nli, nli])


# The command line


def test_the_command_line_explains_itself(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert all(command in said for command in COMMANDS) and "examples:" in said


@pytest.mark.parametrize(
    ("command", "does"),
    [
        ("run", "Run a sweep, or continue it where it stopped."),
        ("plan", "Print cells, trials, stages and cost; start nothing."),
        ("table", "Print accuracy per cell and language; write Parquet and CSV."),
        ("status", "Print what is done and what is open."),
        ("tasks", "List the tasks that a definition can name."),
    ],
)
def test_every_command_says_what_it_does(command, does, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert does in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("words", [[], ["rnu", "lab"], ["run"], ["table", "lab", "--format", "xml"]])
def test_words_that_are_no_command_exit_with_two(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: sweep" in capsys.readouterr().err


def test_tasks_lists_every_task_with_sizes_languages_licence_and_whether_it_is_here(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("SWEEP_DATA", raising=False)
    assert main(["tasks"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == "task kind rows per language languages licence here".split()
    names = sorted((*TASKS, "xvnli"))
    assert [line.split()[0] for line in lines] == names
    told = dict(zip(names, lines, strict=True))
    assert "train 1,104,934 / dev 3,200" in told["anli_plus"] and told["anli_plus"].endswith("no")
    assert "40 of them" in told["panx"] and "ar de en es hi vi zh  CC BY-SA 3.0" in told["mlqa"]
    assert told["lab_visual_nli"].endswith("yes, generated")


def test_tasks_says_of_one_task_what_it_must_look_like_and_how_to_get_it(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SWEEP_DATA", "")
    assert main(["tasks", "mnli", "--data", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "premise (string), hypothesis (string), label (integer)" in told
    assert "nyu-mll/glue at bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c" in told
    assert "hf download nyu-mll/glue --repo-type dataset --revision" in told
    assert main(["tasks", "mnil"]) == 2 and "did you mean 'mnli'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "patterns"),
    [
        ("mnli", "--include 'mnli/*'"),
        ("hellaswag", "--include 'data/*'"),
        ("xnli", "--include '*/test*'"),  # its own training sets, in fifteen languages, are not read
        ("pawsx", "--include 'en/*' --include '*/test*'"),
        ("udpos", "--include 'udpos.English/*' --include 'udpos.*/test*'"),
        ("bucc2018", ""),
        ("xquad", "--include 'XQuAD.*/validation*'"),
        ("mlqa", " ".join(f"--include 'MLQA.{one}.{one}/test*'" for one in "ar de en es hi vi zh".split())),
    ],
)
def test_the_way_to_a_task_fetches_the_files_that_are_read_and_few_others(name, patterns):
    assert " ".join(re.findall("--include '.*?'", places.way(task(name)))) == patterns


def test_tasks_says_where_xvnli_is_looked_for_and_how_to_get_it(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SWEEP_DATA", "")
    assert main(["tasks", "xvnli", "--data", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    notes = tmp_path / "e-bug/iglue/datasets/XVNLI/annotations"
    assert (
        f"'dev' in en ({notes}/{{language}}/dev.jsonl), 'test' in en ar es fr ru ({notes}/{{language}}/test.jsonl) must"
        in told
    )
    assert told.count("git clone https://github.com/e-bug/iglue DIR/e-bug/iglue;") == 1 and "train.jsonl.zip" in told
    assert told.count("Flickr30k's owners give its JPEG files to researchers on request") == 1
    for language in XVNLI_LANGUAGES:
        (notes / language).mkdir(parents=True)
        for split in ("train", "dev", "test") if language == "en" else ("test",):
            (notes / language / f"{split}.jsonl").write_text("{}\n")
    (tmp_path / "flickr30k-images").mkdir()
    assert main(["tasks", "xvnli", "--data", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "git clone" not in told and re.search("^here +yes$", told, re.MULTILINE)


def test_plan_exits_with_zero_and_leaves_nothing_behind(define, tmp_path, monkeypatch, capsys):
    path = define(SWEEP)
    monkeypatch.chdir(tmp_path)
    before = everything(tmp_path)
    assert main(["plan", path]) == 0
    # nothing is searched, so the four trials of the search are one and the same stage
    assert "steps    40 optimiser steps, 70 if no stage were shared" in capsys.readouterr().out
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["plan", "lba"], "did you mean 'lab'?"),
        (["run", "nothing.py"], "the definition file must exist, got 'nothing.py'"),
        (["run", "rehearsal", "--gangs", "0"], "count must be a whole number of at least 1, got 0"),
        (["status", "lab", "--storage", "nowhere"], "no sweep has been run in nowhere; give the storage that"),
        (["table", "never_ran", "--storage", "nowhere"], "no sweep has been run in nowhere"),
    ],
)
def test_what_cannot_be_asked_for_is_one_message_and_exit_two(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.err.startswith("sweep: ") and says in said.err
    assert said.out == "" and everything(tmp_path) == {}


def test_more_gangs_than_the_machine_has_processors_for_are_refused_with_the_arithmetic(define, tmp_path, capsys):
    path = define(SWEEP + "sweep = replace(sweep, gangs=Gangs(workers=8, count=999))\n")
    storage = tmp_path / "storage"
    assert main(["run", path, "--storage", str(storage)]) == 2
    assert "there must be processors for every worker: 999 gangs × 8 workers × 1 = 7992, got" in capsys.readouterr().err
    assert not storage.exists()


def test_a_language_that_the_lab_does_not_speak_is_refused_when_it_is_planned(define, capsys):
    test = "splits=(*lab.VISUAL_NLI.splits[:2], replace(lab.VISUAL_NLI.splits[2], languages=('en', 'dee')))"
    path = define(SWEEP + f"sweep = replace(sweep, target=replace(sweep.target, {test}))\n")
    assert main(["plan", path]) == 2
    said = capsys.readouterr().err
    assert (
        "split 'test' of 'lab_visual_nli' must be in languages that the lab speaks, got 'dee'; did you mean 'de'?"
        in said
    )


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("train=0", "split 'train' of 'lab_visual_nli' must have rows (the lab makes as many as it is told), got 0; "),
        ("dev=0", "split 'dev' of 'lab_visual_nli' must have rows"),
        ("test=0", "split 'test' of 'lab_visual_nli' must have rows"),
        ("train=-5", "rows of split 'train' must be a whole number of at least 0, got -5; say how many rows"),
        ("train=2.5", "rows of split 'train' must be a whole number of at least 0, got 2.5"),
    ],
)
def test_an_empty_split_of_the_lab_is_refused_before_anything_starts(define, rows, says, tmp_path, capsys):
    path = define(REHEARSED + f"sweep = replace(sweep, target=lab.visual_nli({rows}))\n")
    for words in (["plan", path], ["run", path, "--storage", str(tmp_path / "storage")]):
        assert main(words) == 2
        assert says in capsys.readouterr().err
    assert not (tmp_path / "storage").exists()


def test_rows_that_no_split_can_have_are_refused_of_any_source():
    own = task("mnli")
    with pytest.raises(Invalid, match="rows of split 'train' must be a whole number of at least 0, got -1"):
        replace(own, splits=(replace(own.split("train"), rows=-1), *own.splits[1:]))


# Parquet files


def parquet(folder: Path, split: str, languages=("en",), *, drop: str = "", labels=("entailment", "neutral")) -> None:
    rows = [
        {
            "image": {"bytes": f"{split} {number}".encode(), "path": ""},
            "hypothesis": f"hypothesis {number}",
            "label": label,
            "language": language,
            "id": f"{split}-{number}",
        }
        for language in languages
        for number, label in enumerate(labels)
    ]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table.drop_columns([drop]) if drop else table, folder / f"{split}.parquet")


@pytest.fixture
def own_data(define, tmp_path):
    """A definition over three Parquet files, all of them good."""
    for split, languages in (("train", ("en",)), ("dev", ("en",)), ("test", ("en", "de"))):
        parquet(tmp_path, split, languages)
    target = f"parquet_task('own', {str(tmp_path)!r}, languages=('en', 'de'))"
    return define(REHEARSED + f"sweep = replace(sweep, target={target})\n")


def test_good_parquet_files_can_be_planned(own_data, capsys):
    assert main(["plan", own_data]) == 0
    assert "target own" in capsys.readouterr().out


def test_all_faults_of_parquet_files_are_told_when_they_are_planned(own_data, tmp_path, capsys):
    parquet(tmp_path, "train", drop="hypothesis")
    parquet(tmp_path, "dev", labels=("entailment", "perhaps"))
    parquet(tmp_path, "test", ("en",))
    assert main(["plan", own_data]) == 2
    said = capsys.readouterr().err
    assert "hypothesis" in said and "perhaps" in said and "'de'" in said
    assert said.count("\n  - ") == 3


def test_a_missing_parquet_file_is_told_with_the_nearest(own_data, tmp_path, capsys):
    (tmp_path / "dev.parquet").rename(tmp_path / "devv.parquet")
    told = f"the file of split 'dev' must exist, got '{tmp_path}/dev.parquet'; did you mean 'devv.parquet'?"
    assert main(["run", own_data, "--storage", str(tmp_path / "storage")]) == 2
    assert told in capsys.readouterr().err and not (tmp_path / "storage").exists()
    assert main(["plan", own_data]) == 0
    assert told in capsys.readouterr().out


# A storage is left as it was


NO_RAY = """
import json, sys
from sweep.cli import main
for words in json.loads(sys.argv[1]):
    print("exit", main(words), "ray loaded:", "ray" in sys.modules, file=sys.stderr)
"""


def said_without_ray(*commands: list[str]) -> list[str]:
    """What each command said as an error, one after the other in one process, up to its exit status."""
    ended = subprocess.run(
        [sys.executable, "-c", NO_RAY, json.dumps(commands)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ended.stderr.count("exit 2 ray loaded: False\n") == len(commands), ended.stderr
    return ended.stderr.split("exit 2 ray loaded: False\n")[:-1]


def test_a_file_in_the_way_of_storage_or_of_the_sweeps_folder_is_one_message_before_ray_is_loaded(define, tmp_path):
    path = define(REHEARSED)
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage/sweeps").write_text("in the way")
    places = [str(tmp_path / place) for place in ("file", "file/below", "storage")]
    *above, within = said_without_ray(*(["run", path, "--storage", place] for place in places))
    for place, said in zip(places, above, strict=False):
        assert f"'{place}' must be a place that can be written, got" in said
        assert said.endswith("choose another\n") and "Traceback" not in said
    assert (tmp_path / "file").read_text() == "in the way"
    assert "sweeps/mine in" in within and "must be a folder that can be written, got" in within
    assert "Traceback" not in within
    assert everything(tmp_path / "storage") == {"sweeps": b"in the way"}


def test_an_unknown_kind_of_storage_is_one_message(define, capsys):
    assert main(["run", define(REHEARSED), "--storage", "ftpp://host/folder"]) == 2
    said = capsys.readouterr().err
    assert "'ftpp://host/folder' must be a path or a URI that pyarrow.fs knows (file, s3, gs, abfs, hdfs)" in said


@pytest.mark.parametrize(
    ("storage", "says"),
    [
        ("s3:/bucket/x", "got 's3:/bucket/x'; write s3://…, or ./s3:/bucket/x for a folder of that name"),
        ("", "it must be a path or a URI, got ''; '.' is this folder"),
    ],
)
@pytest.mark.parametrize("command", ["run", "table"])
def test_a_storage_that_is_half_a_uri_or_nothing_makes_no_folder(
    define, tmp_path, command, storage, says, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    path = define(REHEARSED)
    before = everything(tmp_path)
    assert main([command, path, "--storage", storage]) == 2
    assert says in capsys.readouterr().err and everything(tmp_path) == before


def test_the_help_of_plan_says_what_it_says_of_a_storage(capsys):
    with pytest.raises(SystemExit):
        main(["plan", "--help"])
    assert "a last line says what --storage holds of it already" in " ".join(capsys.readouterr().out.split())


@pytest.fixture(scope="module")
def used_storage(tmp_path_factory):
    """A storage with a finished sweep called `small` under its real definition, which every test leaves as it was."""
    import pyarrow.fs as pafs

    from sweep import record_definition

    storage = tmp_path_factory.mktemp("used")
    fake.write(str(storage), "small")
    (storage / "sweeps/small/definition.json").unlink()
    record_definition.keep(small_sweep(), pafs.LocalFileSystem(), str(storage))
    return storage


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "target_settings=replace(SETTINGS, batch_size=9)",
            "target_settings.batch_size must be what it was when this sweep began: 8, got 9",
        ),
        (
            "search=replace(small_sweep().search, seed=9)",
            "search.seed must be what it was when this sweep began: 0, got 9",
        ),
        (
            "target=lab.visual_nli(train=9)",
            "target.splits[0].rows must be what it was when this sweep began: 300, got 9",
        ),
        ("search=replace(small_sweep().search, fan_out=1)", "search.fan_out must be what it was when this sweep began"),
        ("gangs=Gangs(threads=2)", "gangs.kind must be what it was when this sweep began"),
        (
            "cells=(BASELINE, replace(MIXED, name='nli'))",
            "cell 'nli'.intermediates must be what it was when this sweep began",
        ),
        ("gangs=Gangs(workers=4, count=99)", "there must be processors for every worker"),
        ("confirmation_seeds=(0,)", "confirmation_seeds must be fresh"),
        ("target_setings=SETTINGS", "did you mean 'target_settings'?"),
    ],
)
def test_a_definition_that_does_not_fit_leaves_the_ledger_and_the_store_as_they_were(
    define, used_storage, change, says, capsys
):
    before = everything(used_storage)
    head = "from dataclasses import replace\nfrom sweep import Gangs\nfrom tests.pure.small_sweep import *\n"
    # Of several sweeps in a file, the one called `sweep` is meant; here there is one.
    path = define(f"sweep = replace(small_sweep(), {change})\n", head=head)
    assert main(["run", path, "--storage", str(used_storage)]) == 2
    assert says in capsys.readouterr().err
    assert everything(used_storage) == before


def test_every_field_that_differs_from_the_first_definition_is_named_at_once(define, used_storage, capsys):
    head = "from dataclasses import replace\nfrom sweep import Search\nfrom tests.pure.small_sweep import *\n"
    changes = "target_settings=replace(SETTINGS, batch_size=16), pretrain=None, search=Search(trials=3, seed=9)"
    assert main(["run", define(f"sweep = small_sweep({changes})\n", head=head), "--storage", str(used_storage)]) == 2
    said = capsys.readouterr().err
    assert [line.split(" must")[0] for line in said.splitlines() if line.startswith("  - ")] == [
        "  - pretrain", "  - search.fan_out", "  - search.pruner.trials_before", "  - search.seed",
        "  - target_settings.batch_size",
    ]  # fmt: skip
    assert "give the sweep another name, or another storage (finished stages are found again in the same one)" in said


def test_tables_that_cannot_be_written_are_one_message_from_table_too(tmp_path, capsys):
    fake.write(str(tmp_path), "small")
    (tmp_path / "sweeps/small/tables").write_text("in the way")
    assert main(["table", "small", "--storage", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("sweep: ") and "sweeps/small/tables" in said


@pytest.mark.parametrize("command", ["table", "status", "run"])
def test_a_torn_definition_is_one_message_that_says_what_to_do(define, used_storage, tmp_path, command, capsys):
    storage = tmp_path / "storage"
    shutil.copytree(used_storage, storage)
    torn = storage / "sweeps/small/definition.json"
    torn.write_bytes(torn.read_bytes()[:100])
    path = define("sweep = small_sweep()\n", head="from tests.pure.small_sweep import *\n")
    assert main([command, path, "--storage", str(storage)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"sweep: the definition {torn} cannot be used:\n  - it must be JSON, got 100 bytes that are")
    assert "delete it, and `sweep run` it again" in said


def test_an_error_of_our_own_is_not_told_as_if_a_user_could_mend_it(monkeypatch):
    monkeypatch.setattr(sys.modules["sweep.plan"], "plan", lambda sweep: {}["x"])
    with pytest.raises(KeyError):
        main(["plan", "lab"])


def test_ctrl_c_before_a_sweep_has_begun_is_a_line_too(monkeypatch, capsys):
    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sweep.cli.load", interrupted)
    assert main(["run", "lab"]) == 130
    assert capsys.readouterr().err == "sweep: stopped\n"
