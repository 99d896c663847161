"""Claims about the TensorBoard runs, read back with TensorBoard's own server."""

from __future__ import annotations

import dataclasses
import json
import urllib.parse
import urllib.request
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from search_spaces.domains import Choice, Domain, LogRange
from search_spaces.space import Space
from search_spaces.transfer_grid import Cell, CellRole
from sweep.definition import Sweep
from sweep.event_files import EventFiles
from sweep.records import Phase, State, TrialKey, TrialRecord
from sweep.tensorboard import EXPERIMENT, WHOLE, SweepWriter
from tests.pure import fake_sweep as fake
from trainables.catalogue.task import Kind, LabSource, Role, Split, Task
from trainables.scores import Progress, Score, TaskLoss
from trainables.settings import Settings
from trainables.stages import Portion, Stage, StageKind, Training

NONE = {"target.learning_rate": 0.003}
NLI = {"target.learning_rate": 0.001, "intermediate.learning_rate": 0.002, "share.nli": 0.75, "share.qa": 0.25}
PARAMETERS = sorted(NLI)
SHOWN_LATE = {"none/search-2", "none/search-3"}


def _task(name: str) -> Task:
    splits = (Split(name="train", languages=("en",)),)
    source = LabSource(generator=name)
    return Task(name=name, kind=Kind.PAIR, labels=("a", "b"), splits=splits, source=source, licence="none")


def _train(parent: str, *portions: tuple[Task, int]) -> Stage:
    steps = sum(count for _, count in portions)
    settings = Settings(learning_rate=0.001, maximum_steps=steps, batch_size=8)
    return Stage(
        kind=StageKind.TRAIN,
        work=Training(settings=settings, portions=tuple(Portion(task=task, steps=count) for task, count in portions)),
        encoder=fake.evaluation("none", 0, 1).encoder,
        parent=parent,
        seed=0,
        shape=fake.evaluation("none", 0, 1).shape,
        versions=(),
    )


INTERMEDIATE = _train("", (_task("nli"), 30), (_task("qa"), 10))
PATH = (INTERMEDIATE, _train(INTERMEDIATE.digest, (fake.TARGET, 100)))


def _record(cell: str, number: int, values: dict, state: State = State.OPEN, **more) -> TrialRecord:
    key = TrialKey(cell=cell, phase=more.pop("phase", Phase.SEARCH), number=number)
    return TrialRecord(key=key, values=values, draws=values, seed=0, stages=(), state=state, **more)


def _report(step: int, accuracy: float | None = None) -> Progress:
    score = Score(
        task=fake.TARGET.name,
        language="en",
        split="dev",
        role=Role.SELECT,
        metric="accuracy",
        value=accuracy,
        correct=None,
        count=80,
        step=step,
    )
    losses = (TaskLoss(task="nli", loss=1.0, steps=3), TaskLoss(task="qa", loss=2.0, steps=1))
    return Progress(
        digest="d", step=step, losses=losses, learning_rate=0.001, scores=(score,) if accuracy is not None else ()
    )


def two_metrics(step: int) -> Progress:
    """A report of one development split by two metrics, as a span task has them."""
    report = _report(step, 0.8)
    names = (("f1", 0.8), ("exact_match", 0.55))
    scores = tuple(dataclasses.replace(report.scores[0], metric=name, value=value) for name, value in names)
    return dataclasses.replace(report, scores=scores)


def _sweep(target_domain: Domain = LogRange(0.0001, 0.01)) -> Sweep:  # noqa: B008 - a frozen value
    splits = tuple(Split(name=name, languages=("en",)) for name in ("train", "dev", "test"))
    return Sweep(
        name="fake",
        target=dataclasses.replace(fake.TARGET, splits=splits),
        encoder=PATH[0].encoder,
        cells=(
            Cell(name="none", role=CellRole.BASELINE),
            Cell(name="nli", intermediates=(_task("nli"), _task("qa"))),
        ),
        target_settings=Settings(learning_rate=0.001, maximum_steps=100, batch_size=8),
        intermediate_settings=Settings(learning_rate=0.001, maximum_steps=40, batch_size=8),
        space=Space(intermediate={"learning_rate": LogRange(0.0001, 0.01)}, target={"learning_rate": target_domain}),
    )


def _writer(logdir: Path) -> SweepWriter:
    return SweepWriter(logdir, _sweep())


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    """A sweep that was killed while `nli` 1 was open and then went on."""
    folder = tmp_path_factory.mktemp("tensorboard")
    writer = _writer(folder)
    for record, ended in [
        (_record("none", 0, NONE), {"state": State.FINISHED, "score": 0.5, "scored": ((100, 0.5),)}),
        (_record("none", 1, NONE), {"state": State.FAILED, "reason": "no"}),
        (_record("nli", 0, NLI), {"state": State.PRUNED, "score": 0.4, "scored": ((50, 0.4),)}),
    ]:
        writer.started(record, PATH)
        writer.progressed(record, 1, PATH, _report(50, 0.45))
        writer.ended(_record(record.key.cell, record.key.number, record.values, **ended), PATH, ())
    writer.started(_record("nli", 1, NLI), PATH)
    writer.progressed(_record("nli", 1, NLI), 0, PATH, _report(20))
    writer.started(_record("none", 2, NONE), PATH)  # it ends, and the kill comes before that is shown
    writer.close()

    ended = _record("none", 2, NONE, State.FINISHED, score=0.6, scored=((100, 0.6),))
    gone = _record("none", 3, NONE, State.FAILED, reason="no")  # of this nothing was shown at all
    writer = SweepWriter(folder, _sweep(), [_record("none", 1, NONE, State.FAILED, reason="no"), ended, gone])
    writer.started(_record("nli", 1, NLI), PATH)
    writer.progressed(_record("nli", 1, NLI), 0, PATH, _report(40))
    writer.ended(_record("nli", 1, NLI, State.FINISHED, score=0.7, scored=((100, 0.7),)), PATH, ())
    writer.started(_record("nli", 2, NLI), PATH)
    confirmed = _record("nli", 0, NLI, State.FINISHED, score=0.7, phase=Phase.CONFIRMATION)
    writer.started(confirmed, PATH)
    writer.ended(confirmed, PATH, fake.scores_of(fake.answers("nli", 2, 1)))
    writer.close()
    return folder


@pytest.fixture(scope="module")
def ask(logdir):
    """A GET to a TensorBoard server on the folder."""
    from tensorboard import default, program

    board = program.TensorBoard(plugins=default.get_plugins())
    board.configure(
        argv=["tensorboard", "--logdir", str(logdir), "--port", "0", "--load_fast", "false", "--host", "127.0.0.1"]
    )
    url = board.launch()

    def get(page: str, request: dict | None = None):
        query = "?" + urllib.parse.urlencode({"request": json.dumps(request)}) if request is not None else ""
        with urllib.request.urlopen(f"{url.rstrip('/')}/data/plugin/{page}{query}", timeout=20) as answer:
            return json.load(answer)

    _wait_until_loaded(get)
    return get


def _wait_until_loaded(get) -> None:
    """TensorBoard reads the folder in the background; the run written last is there when all are."""
    import time

    for _ in range(100):
        if len(get("scalars/tags")) >= 8:
            return
        time.sleep(0.1)
    raise AssertionError(f"TensorBoard found only {get('scalars/tags')}")


def _sessions(ask) -> dict[str, dict]:
    statuses = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
    columns = [{"hparam": name, "includeInResult": True} for name in ("cell", *PARAMETERS)]
    request = {"startIndex": 0, "sliceSize": 100, "allowedStatuses": statuses, "colParams": columns}
    groups = ask("hparams/session_groups", request)["sessionGroups"]
    names = [group["name"] for group in groups]
    assert len(set(names)) == len(names)
    assert all(len(group["sessions"]) == 1 for group in groups)
    return dict(zip(names, groups, strict=True))


def test_the_experiment_declares_the_parameters_of_every_cell(ask):
    experiment = ask("hparams/experiment", {})
    assert [info["name"] for info in experiment["hparamInfos"]] == ["cell", *PARAMETERS]
    assert [info["name"]["tag"] for info in experiment["metricInfos"]] == [
        "score",
        "score_when_pruned",
        "pruned_at_step",
    ]


def test_every_search_trial_is_one_session_with_its_values(ask):
    sessions = _sessions(ask)
    assert (
        set(sessions) == {"none/search-0", "none/search-1", "nli/search-0", "nli/search-1", "nli/search-2"} | SHOWN_LATE
    )
    for name, group in sessions.items():
        values = NLI if name.startswith("nli") else NONE
        assert group["hparams"] == {"cell": name.split("/")[0], **values}


def test_every_search_trial_shows_how_it_ended(ask):
    status = {name: group["sessions"][0].get("status") for name, group in _sessions(ask).items()}
    assert status.pop("nli/search-2") == "STATUS_UNKNOWN"
    assert status == {
        "none/search-0": "STATUS_SUCCESS",
        "none/search-1": "STATUS_FAILURE",
        "none/search-2": "STATUS_SUCCESS",
        "none/search-3": "STATUS_FAILURE",
        "nli/search-0": "STATUS_SUCCESS",
        "nli/search-1": "STATUS_SUCCESS",
    }


def test_the_metric_of_a_trial_is_its_selected_score_and_that_of_a_pruned_one_is_not_among_them(ask):
    found = {}
    for name, group in _sessions(ask).items():
        values = group["sessions"][0].get("metricValues", [])
        found[name] = {value["name"]["tag"]: value["value"] for value in values}
    assert found["none/search-0"] == {"score": 0.5}
    assert found["nli/search-0"] == {"score_when_pruned": pytest.approx(0.4), "pruned_at_step": 50}
    assert found["nli/search-1"] == {"score": pytest.approx(0.7)}
    assert found["none/search-1"] == {}
    assert found["none/search-2"] == {"score": pytest.approx(0.6)}


def test_an_end_that_is_shown_late_is_shown_once_and_has_its_point(ask, logdir):
    files = EventFiles(pafs.LocalFileSystem(), str(logdir))
    assert not files.holds("none/search-9", "score") and files.holds("none/search-2", "score")
    before = sorted(path for path in logdir.rglob("*") if path.parent.name.startswith("search-"))
    ended = _record("none", 2, NONE, State.FINISHED, score=0.6, scored=((100, 0.6),))
    SweepWriter(logdir, _sweep(), [ended]).close()
    assert sorted(path for path in logdir.rglob("*") if path.parent.name.startswith("search-")) == before
    assert [row[1] for row in ask("scalars/scalars?run=sweep&tag=score%2Fnone")] == [0, 2]


def test_two_metrics_of_one_development_split_are_two_curves(tmp_path):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    record, report = _record("nli", 0, NLI), two_metrics(50)
    of_another = dataclasses.replace(
        report, scores=tuple(dataclasses.replace(score, task="qa") for score in report.scores)
    )
    writer = _writer(tmp_path)
    writer.started(record, PATH)
    writer.progressed(record, 0, PATH, of_another)
    writer.progressed(record, 1, PATH, report)
    writer.close()
    found = {
        (value.tag, event.step): round(value.tensor.float_val[0], 4)
        for file in tmp_path.rglob("*search-0/*")
        for event in EventFileLoader(str(file)).Load()
        for value in event.summary.value
        if value.tag.startswith("dev/")
    }
    assert found == {
        ("dev/qa/en/f1", 50): 0.8,
        ("dev/qa/en/exact_match", 50): 0.55,
        ("dev/en/f1", 90): 0.8,
        ("dev/en/exact_match", 90): 0.55,
    }


def test_a_trial_shows_its_losses_its_mixture_and_its_development_score(ask):
    tags = ask("scalars/tags")
    assert {"loss", "loss/nli", "loss/qa", "learning_rate", "dev/en/accuracy", "share/nli", "share/qa"} <= set(
        tags["nli/search-0"]
    )
    rows = ask("scalars/scalars?run=nli%2Fsearch-0&tag=dev%2Fen%2Faccuracy")
    assert [(row[1], round(row[2], 4)) for row in rows] == [(90, 0.45)]
    rows = ask("scalars/scalars?run=nli%2Fsearch-0&tag=loss")
    assert rows[0][2] == pytest.approx(1.25)
    rows = ask("scalars/scalars?run=nli%2Fsearch-0&tag=share%2Fnli")
    assert rows[0][2] == pytest.approx(0.75)


def test_a_confirmation_shows_the_accuracy_of_each_language(ask):
    tags = ask("scalars/tags")["nli/confirmation-0"]
    assert {f"lang/{language}/accuracy" for language in fake.LANGUAGES} <= set(tags)


def test_a_confirmation_that_a_kill_kept_from_being_shown_is_shown_by_the_next_writer_once(tmp_path):
    writer = _writer(tmp_path)
    writer.started(_record("nli", 0, NLI, phase=Phase.CONFIRMATION), PATH)
    writer.close()
    ended = _record("nli", 0, NLI, State.FINISHED, score=0.7, phase=Phase.CONFIRMATION, evaluation="kept")
    kept = {"kept": fake.scores_of(fake.answers("nli", 2, 1))}
    files = EventFiles(pafs.LocalFileSystem(), str(tmp_path))
    assert not files.holds("nli/confirmation-0", "lang/")
    for _ in range(2):
        SweepWriter(tmp_path, _sweep(), [ended], scores_of=kept.get).close()
        shown = [path.read_bytes() for path in (tmp_path / "nli" / "confirmation-0").iterdir()]
        for language in fake.LANGUAGES:
            assert sum(f"lang/{language}/accuracy".encode() in data for data in shown) == 1
    points = [b"confirmed/nli" in path.read_bytes() for path in (tmp_path / WHOLE).iterdir()]
    assert sum(points) == 1


def test_a_trial_taken_up_again_goes_on_in_its_own_run(ask):
    rows = ask("scalars/scalars?run=nli%2Fsearch-1&tag=loss")
    assert [row[1] for row in rows] == [20, 40]


def test_the_experiment_is_written_once_and_replaced_when_the_space_changes(tmp_path):
    _writer(tmp_path)
    before = (tmp_path / WHOLE / EXPERIMENT).read_bytes()
    _writer(tmp_path)
    assert (tmp_path / WHOLE / EXPERIMENT).read_bytes() == before
    SweepWriter(tmp_path, _sweep(Choice((0.001, 0.002))))
    assert (tmp_path / WHOLE / EXPERIMENT).read_bytes() != before
    assert len(list((tmp_path / WHOLE).iterdir())) == 1


def test_writing_loads_neither_torch_nor_tensorflow(tmp_path):
    import subprocess
    import sys

    code = (
        "import sys; import sweep.tensorboard; light = 'tensorboard.compat' not in sys.modules;"
        f"from tests.libraries.test_tensorboard import _writer; _writer({str(tmp_path)!r});"
        "print(light, [name for name in ('torch', 'tensorflow') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert found.stdout.strip() == "True []"
