"""A claim about a running sweep in Weights & Biases, whose callback of Ray starts an actor; offline."""

from __future__ import annotations

import pytest

from sweep.cli import main
from sweep.launch import run
from sweep.mirror_names import Kind, Mirror, mirror, mirror_faults
from sweep.mirrors import Mirrored
from sweep.mirrors import callback, mirror
from tests.libraries import test_tensorboard as one
from tests.libraries.test_mirrors import Conducted, tell
from tests.pure import fake_sweep as fake


class Notebook:
    """A logger callback that keeps what it is told."""

    def __init__(self, trouble: str = "") -> None:
        self.said: list[tuple] = []
        self.trouble = trouble

    def setup(self, *given, **more):
        self.said.append(("setup",))

    def log_trial_start(self, trial):
        if self.trouble:
            raise RuntimeError(self.trouble)
        self.said.append(("start", str(trial), dict(trial.config), trial.trial_id))

    def log_trial_result(self, iteration, trial, result):
        self.said.append(("result", str(trial), dict(result)))

    def log_trial_end(self, trial, failed):
        self.said.append(("end", str(trial), failed))

    def on_experiment_end(self, trials, **info):
        self.said.append(("over",))


class Conducted:
    """As much of a conductor as a mirror asks."""

    def __init__(self, score: float | None) -> None:
        self.score = score

    def record_of(self, key):
        return one._record(key.cell, key.number, one.NLI, score=self.score)


def _trial() -> SimpleNamespace:
    config = {"cell": "nli", "phase": "search", "number": 4, "path": [stage.to_json() for stage in one.PATH]}
    return SimpleNamespace(trial_id="abc", config=config)


def _tell(mirrored: Mirrored) -> None:
    trial, target = _trial(), one.PATH[1].digest
    report = one._report(20, 0.5)
    first = event_to_json(type(report)(**{**vars(report), "digest": one.PATH[0].digest}))
    second = event_to_json(type(report)(**{**vars(report), "digest": target}))
    scores = fake.scores_of(fake.answers("nli", 2, 1))
    done = event_to_json(Done(digest="evaluation", steps_executed=0, reused=False, scores=scores))
    mirrored.setup()
    mirrored.log_trial_start(trial)
    mirrored.log_trial_result(1, trial, {"events": [first, second], "score": 0.0})
    mirrored.log_trial_result(2, trial, {"events": [done]})
    mirrored.log_trial_end(trial)
    mirrored.on_experiment_end([])


def test_a_logger_sees_values_numbers_and_the_selected_score_and_no_stage():
    notebook = Notebook()
    _tell(Mirrored(notebook, Conducted(0.7)))
    kinds = [entry[0] for entry in notebook.said]
    assert kinds == ["setup", "start", "result", "result", "result", "result", "end", "over"]
    assert notebook.said[1] == (
        "start", "nli/search-4", {"cell": "nli", "phase": "search", "number": 4, **one.NLI}, "abc"
    )  # fmt: skip
    results = [entry[2] for entry in notebook.said if entry[0] == "result"]
    assert [result["training_iteration"] for result in results] == [20, 60, 140, 140]
    assert results[0]["loss"] == pytest.approx(1.25) and results[0]["loss/qa"] == 2.0
    assert results[0][f"dev/{fake.TARGET.name}/en"] == 0.5
    assert {"lang/de/accuracy", "lang/th/accuracy"} <= set(results[2])
    assert results[3]["score"] == 0.7
    assert all(isinstance(value, int | float) for result in results for value in result.values())


def test_a_logger_that_fails_is_told_nothing_more_and_the_sweep_goes_on(caplog):
    notebook = Notebook("no network")
    _tell(Mirrored(notebook, Conducted(None)))
    assert notebook.said == [("setup",)]
    assert caplog.text.count("Notebook has failed and is shown nothing more: no network") == 1


def test_a_mirror_without_its_library_is_refused_before_anything_starts(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    answer = "which is not installed; install it with: pip install 'transfer-sweep[wandb]'"
    with pytest.raises(Invalid, match=r"pip install 'transfer-sweep\[wandb\]'"):
        run(small_sweep(), tmp_path, mirrors=["wandb:project"])
    assert main(["run", "rehearsal", "--storage", str(tmp_path), "--mirror", "wandb"]) == 2
    assert answer in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_mirror_is_named_with_its_place_and_a_mistyped_one_answered():
    assert mirror("mlflow:sqlite:///a.db") == Mirror(kind=Kind.MLFLOW, place="sqlite:///a.db")
    assert mirror("wandb") == Mirror(kind=Kind.WANDB)
    assert "did you mean 'mlflow'?" in next(mirror_faults(["mlfow"]))
def test_weights_and_biases_offline_keeps_a_trial_with_its_values_and_its_numbers(cluster, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb, of the test extra, is not installed")
    monkeypatch.chdir(tmp_path)
    for name, value in (("WANDB_MODE", "offline"), ("WANDB_DIR", str(tmp_path)), ("WANDB_SILENT", "true")):
        monkeypatch.setenv(name, value)
    shown = callback(mirror("wandb:project"), Conducted(0.7))
    tell(shown)
    # Its library no longer reads these files itself; names and numbers stand in them as they are.
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    kept = file.read_bytes()
    names = ["loss", "task_loss/nli", "score", f"dev/{fake.TARGET.name}/en", *one.NLI]
    names += [f"lang/{language}/accuracy" for language in fake.LANGUAGES]
    assert [name for name in ("nli/search-4", "lab", "project", *names) if name.encode() not in kept] == []
    assert all(str(value).encode() in kept for value in (0.7, *one.NLI.values()))
