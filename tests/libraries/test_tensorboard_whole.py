"""Claims about TensorBoard of a whole sweep: one run for all, few folders, pictures and texts, any storage."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sweep import Results
from sweep.event_files import EventFiles
from sweep.ledger import Ledger
from sweep.presets import PRESETS
from sweep.record_definition import described
from sweep.records import Happening, Phase, State, TrialKey, What
from sweep.tensorboard import EXPERIMENT, WHOLE, SweepWriter, scalar, text_summary
from sweep.tensorboard_pictures import Painter, definition_text, examples, pictures
from sweep.tensorboard_view import Copy, Sessions
from tests.libraries import test_tensorboard as one
from tests.pure import fake_sweep as fake
from trainables.canonical import encode
from trainables.data.reading import read
from trainables.store import PREDICTIONS, Store
from trainables.whole_files import put_whole

LOCAL = pafs.LocalFileSystem()


def _events(folder: Path) -> Iterator:
    """Every summary value below a folder with its run and step, read as TensorBoard reads."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    for file in sorted(folder.rglob("*tfevents*")):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                yield str(file.parent.relative_to(folder)), event.step, value


def _points(folder: Path, tag: str) -> list[tuple[int, float]]:
    found = [(step, value) for run, step, value in _events(folder) if run == WHOLE and value.tag == tag]
    return [(step, round(value.tensor.float_val[0], 4)) for step, value in found]


def _search(writer: SweepWriter, number: int, score: float | None, state: State = State.FINISHED) -> None:
    writer.started(one._record("nli", number, one.NLI), one.PATH)
    scored = ((100, score),) if score is not None else ()
    writer.ended(one._record("nli", number, one.NLI, state, score=score, scored=scored), one.PATH, ())


def test_the_whole_sweeps_run_has_every_trial_its_shares_and_the_best_so_far(tmp_path):
    writer = SweepWriter(tmp_path, one._sweep())
    for number, score in enumerate((0.5, 0.7, 0.6)):
        _search(writer, number, score)
    _search(writer, 3, None, State.FAILED)
    confirmed = one._record("nli", 0, one.NLI, State.FINISHED, score=0.7, phase=Phase.CONFIRMATION)
    writer.started(confirmed, one.PATH)
    scores = fake.scores_of(fake.answers("nli", 2, 1))
    writer.ended(confirmed, one.PATH, scores)
    writer.close()
    assert _points(tmp_path, "score/nli") == [(0, 0.5), (1, 0.7), (2, 0.6)]
    assert _points(tmp_path, "best/nli") == [(0, 0.5), (1, 0.7), (2, 0.7), (3, 0.7)]
    assert _points(tmp_path, "share/nli/nli") == [(0, 0.75), (1, 0.75), (2, 0.75)]
    mean = sum(score.value or 0 for score in scores) / len(scores)
    assert _points(tmp_path, "confirmed/nli") == [(0, pytest.approx(mean, abs=1e-4))]


def test_only_the_best_trials_of_a_cell_keep_a_folder_and_a_resumed_sweep_agrees(tmp_path, monkeypatch):
    monkeypatch.setattr("sweep.tensorboard.RUNS", 4)  # two for each of the two cells
    scores = [0.5, 0.7, None, 0.6, 0.7, 0.2]
    writer = SweepWriter(tmp_path, one._sweep())
    for number, score in enumerate(scores[:4]):
        _search(writer, number, score, State.FINISHED if score else State.FAILED)
    writer.close()
    kept = [
        one._record("nli", number, one.NLI, State.FINISHED if score else State.FAILED, score=score)
        for number, score in enumerate(scores[:4])
    ]
    writer = SweepWriter(tmp_path, one._sweep(), kept)
    for number, score in enumerate(scores[4:], start=4):
        _search(writer, number, score)
    writer.close()
    assert {path.name for path in (tmp_path / "nli").iterdir()} == {"search-1", "search-4"}
    assert _points(tmp_path, "best/nli")[-1] == (5, 0.7)
    assert len(_points(tmp_path, "score/nli")) == 5, "what has no folder still has its point"


def _remote() -> pafs.FileSystem:
    """A filesystem that this package takes for a remote one; its files lie on the disk, by absolute paths."""
    import fsspec

    return pafs.PyFileSystem(pafs.FSSpecHandler(fsspec.filesystem("file", auto_mkdir=True)))


def test_a_file_on_an_object_store_is_put_whole_and_not_at_every_report(tmp_path, monkeypatch):
    puts = []
    monkeypatch.setattr("sweep.event_files.put_whole", lambda *given: puts.append(given[1]) or put_whole(*given))
    files = EventFiles(_remote(), str(tmp_path / "logs"))
    for step in range(50):
        files.add("run", scalar("loss", float(step)), step)
        files.flush("run")
    assert len(puts) == 1
    files.close("run")
    assert len(puts) == 2
    assert len([value for _, _, value in _events(tmp_path / "logs") if value.tag == "loss"]) == 50


def test_a_run_on_a_disk_grows_at_every_report_and_a_failed_write_is_made_up_for(tmp_path, monkeypatch):
    files = EventFiles(LOCAL, str(tmp_path))
    files.add("run", scalar("loss", 1.0), 1)
    files.flush("run")
    (file,) = (tmp_path / "run").iterdir()
    before = file.read_bytes()
    with file.open("ab") as half:
        half.write(b"half a record of a write that failed")
    files.add("run", scalar("loss", 2.0), 2)
    files.add("run", text_summary("long", "x" * 1000), 2)
    files.flush("run")
    assert file.read_bytes().startswith(before)
    assert [step for _, step, _ in _events(tmp_path)] == [1, 2, 2]
    files.delete("run")
    files.delete("run")
    assert not (tmp_path / "run").exists()


def test_a_copy_of_a_remote_folder_follows_it_file_by_file(tmp_path, monkeypatch):
    filesystem, root = _remote(), str(tmp_path / "there")
    results = Results(str(tmp_path), "fake")
    monkeypatch.setattr(Results, "place", property(lambda self: (filesystem, root)))
    monkeypatch.setattr("sweep.event_files.PUT_SECONDS", 0.0)
    files = EventFiles(filesystem, f"{root}/sweeps/fake/tensorboard")
    copy, here = Copy(results, str(tmp_path / "here")), tmp_path / "here"
    for step in (1, 2):
        files.add("nli/search-0", scalar("loss", 1.0), step)
        files.flush("nli/search-0")
        copy.refresh()
        assert [found for _, found, _ in _events(here)] == list(range(1, step + 1))
    assert len(list(here.rglob("*tfevents*"))) == 1


def test_every_trial_of_the_ledger_has_a_session_with_its_values(tmp_path):
    fake.write(str(tmp_path / "storage"))
    sessions = Sessions(Results.open(str(tmp_path / "storage"), "fake"), str(tmp_path / "logs"))
    sessions.refresh()
    first = sorted(str(path) for path in (tmp_path / "logs").rglob("*"))
    sessions.refresh()
    assert sorted(str(path) for path in (tmp_path / "logs").rglob("*")) == first
    searched = [entry.trial for entry in fake.happenings() if entry.trial.phase is Phase.SEARCH]
    runs = {str(path.parent.relative_to(tmp_path / "logs")) for path in (tmp_path / "logs").rglob("*tfevents*")}
    assert runs == {WHOLE, *(f"{key.cell}/search-{key.number}" for key in searched)}
    assert (tmp_path / "logs" / WHOLE / EXPERIMENT).is_file()
    scores = {run: value.tensor.float_val[0] for run, _, value in _events(tmp_path / "logs") if value.tag == "score"}
    assert scores["nli/search-2"] == pytest.approx(0.7)


# Pictures and texts


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Results:
    """Two confirmed cells of the rehearsal, whose answers are to real items of the lab: all wrong, and all right."""
    storage = tmp_path_factory.mktemp("lab")
    made = PRESETS["rehearsal"]()
    splits = tuple(replace(split, rows=12) if split.name == "test" else split for split in made.target.splits)
    sweep = replace(made, name="lab", target=replace(made.target, splits=splits))
    rows = read(sweep.target, "test", None, storage / "cache")
    ledger, store = Ledger(LOCAL, str(storage), "lab").open(), Store(str(storage))
    labels = np.array(sweep.target.labels)
    for cell, turned in ((sweep.cells[0].name, 1), (sweep.cells[1].name, 0)):
        made_by = fake.evaluation(cell, 0, 1)
        stage = replace(made_by, work=replace(made_by.work, task=sweep.target))
        table = pa.table(
            {
                "task": [sweep.target.name] * len(rows),
                "language": rows["language"],
                "item_id": rows["id"],
                "gold": labels[rows["label"].to_numpy()],
                "predicted": labels[(rows["label"].to_numpy() + turned) % 3],
            }
        )
        folder = store.workspace(stage.digest, "attempt")
        pq.write_table(table, folder / PREDICTIONS)
        store.commit(stage, folder, "attempt", steps=0, seconds=0.0)
        for phase, winner, evaluation in ((Phase.SEARCH, None, ""), (Phase.CONFIRMATION, 0, stage.digest)):
            key = TrialKey(cell=cell, phase=phase, number=0)
            payload = {"score": 0.5, "target": "t", "evaluation": evaluation}
            ended = Happening(trial=key, what=What.FINISHED, payload=payload)
            for entry in (*fake.trial(key, score=0.5, ending=None, winner=winner, seed=1), ended):
                ledger.record(entry)
    path = storage / "sweeps" / "lab" / "definition.json"
    path.write_text(json.dumps({**described(sweep), "definition": encode(sweep)}))
    return Results.open(str(storage), "lab")


def test_examples_have_the_words_of_every_language_and_the_answers_of_two_cells(lab):
    text, picture = examples(lab)
    head, _, *lines = text.splitlines()
    assert head == "| item | language | words | gold | none | lab_nli |"
    languages = lab.standing().languages
    assert len(lines) == 6 * len(languages)
    english = next(line for line in lines if "| en |" in line)
    assert "✗ |" in english and english.endswith("✓ |") and "object" in english
    image = Image.open(io.BytesIO(picture))
    assert image.width > 600 and image.height > 600


def test_answers_to_items_that_nobody_has_are_said_to_be_such(tmp_path):
    fake.write(str(tmp_path))
    assert examples(Results.open(str(tmp_path), "fake")) == "No examples: no definition is stated."


def test_a_confirmation_draws_the_matrix_and_the_examples_and_a_search_trial_nothing(lab, tmp_path):
    painter = Painter(lab, LOCAL, str(tmp_path))
    painter.ended(one._record("nli", 0, one.NLI, State.FINISHED), one.PATH, ())
    painter.close()
    assert list(tmp_path.iterdir()) == []
    painter = Painter(lab, LOCAL, str(tmp_path))
    painter.ended(one._record("nli", 0, one.NLI, State.FINISHED, phase=Phase.CONFIRMATION), one.PATH, ())
    painter.close()
    tags = {(value.tag, value.metadata.plugin_data.plugin_name) for _, _, value in _events(tmp_path)}
    assert tags == {("transfer_matrix", "images"), ("examples", "images"), ("examples_in_words", "text")}


def test_pictures_that_cannot_be_drawn_cost_the_sweep_nothing(lab, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("sweep.tensorboard_pictures.pictures", lambda results: 1 / 0)
    painter = Painter(lab, LOCAL, str(tmp_path))
    painter.ended(one._record("nli", 0, one.NLI, State.FINISHED, phase=Phase.CONFIRMATION), one.PATH, ())
    painter.close()
    assert "pictures for TensorBoard could not be drawn: division by zero" in caplog.text


def test_the_text_of_a_definition_names_cells_seeds_and_the_whole_of_it(lab):
    text = definition_text(lab.stated(), "Power: much.")
    assert "| lab_nli | transfer | lab_nli | 3 |" in text
    assert "confirmed with the seeds 1, 2, 3" in text and "Power: much." in text
    assert '"confirmation_seeds"' in text
    assert list(pictures(lab))
