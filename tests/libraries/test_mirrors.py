"""Claims about mirrors: a logger sees values and numbers instead of stages, and its trouble is its own."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

from sweep.cli import main
from sweep.launch import run
from sweep.mirror_names import Kind, Mirror, mirror, mirror_faults
from sweep.mirrors import Mirrored, callback
from sweep.records import State
from tests.libraries import test_tensorboard as one
from tests.pure import fake_sweep as fake
from tests.pure.small_sweep import small_sweep
from trainables.faults import Invalid
from trainables.scores import Done, event_to_json


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

    def __init__(self, score: float | None, state: State = State.FINISHED, **more) -> None:
        self.sweep = SimpleNamespace(name="lab")
        self.state, self.more = state, {"score": score, **more}

    def record_of(self, key):
        return one._record(key.cell, key.number, one.NLI, self.state, **self.more)


PRUNED = {"score": 0.4, "state": State.PRUNED, "scored": ((50, 0.4),)}


def _trial() -> SimpleNamespace:
    config = {"cell": "nli", "phase": "search", "number": 4, "path": [stage.to_json() for stage in one.PATH]}
    return SimpleNamespace(trial_id="abc", config=config, local_path=".")


def tell(mirrored: Mirrored) -> None:
    """What Tune says of one trial, from its start to the end of the experiment."""
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
    tell(Mirrored(notebook, Conducted(0.7)))
    kinds = [entry[0] for entry in notebook.said]
    assert kinds == ["setup", "start", "result", "result", "result", "result", "end", "over"]
    assert notebook.said[1] == (
        "start", "nli/search-4", {"cell": "nli", "phase": "search", "number": 4, **one.NLI}, "abc"
    )  # fmt: skip
    results = [entry[2] for entry in notebook.said if entry[0] == "result"]
    assert [result["training_iteration"] for result in results] == [20, 60, 140, 140]
    assert results[0]["loss"] == pytest.approx(1.25) and results[0]["task_loss/qa"] == 2.0
    assert results[0][f"dev/{fake.TARGET.name}/en/accuracy"] == 0.5
    assert {"lang/de/accuracy", "lang/th/accuracy"} <= set(results[2])
    assert results[3]["score"] == 0.7
    assert all(isinstance(value, int | float) for result in results for value in result.values())


def test_two_metrics_of_one_development_split_have_a_name_each():
    notebook, trial = Notebook(), _trial()
    report = dataclasses.replace(one.two_metrics(20), digest=one.PATH[1].digest)
    mirrored = Mirrored(notebook, Conducted(0.7))
    mirrored.log_trial_start(trial)
    mirrored.log_trial_result(1, trial, {"events": [event_to_json(report)]})
    (result,) = [entry[2] for entry in notebook.said if entry[0] == "result"]
    stem = f"dev/{fake.TARGET.name}/en"
    assert {name: value for name, value in result.items() if name.startswith("dev/")} == {
        f"{stem}/f1": 0.8,
        f"{stem}/exact_match": 0.55,
    }


@pytest.mark.parametrize(
    ("conducted", "told", "failed"),
    [
        (Conducted(**PRUNED), {"pruned_at_step": 50, "score_when_pruned": 0.4}, False),
        (Conducted(None, State.FAILED, reason="no"), {"failed": 1.0}, True),
    ],
    ids=["pruned", "failed"],
)
def test_a_trial_that_did_not_run_to_its_end_has_no_score_and_shows_why(conducted, told, failed):
    notebook = Notebook()
    tell(Mirrored(notebook, conducted))
    results = [entry[2] for entry in notebook.said if entry[0] == "result"]
    assert {name: value for name, value in results[-1].items() if "t" not in name[:1]} == told
    assert not any("score" in result for result in results)
    assert notebook.said[-2] == ("end", "nli/search-4", failed)


@pytest.mark.parametrize(
    ("place", "conducted"),
    [("sqlite:///{}/mlflow.db", Conducted(0.7)), ("{}/runs", Conducted(0.7)), ("{}/runs", Conducted(**PRUNED))],
    ids=["database", "files", "files, of a pruned trial"],
)
def test_mlflow_shows_a_trial_with_its_values_its_numbers_and_their_steps(tmp_path, monkeypatch, place, conducted):
    tracking = pytest.importorskip("mlflow.tracking", reason="mlflow-skinny, of the test extra, is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 asks for a database otherwise
    uri = place.format(tmp_path)
    tell(callback(mirror(f"mlflow:{uri}"), conducted))
    client = tracking.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("lab").experiment_id])
    assert (run.info.run_name, run.info.status) == ("nli/search-4", "FINISHED")
    about = {"cell": "nli", "phase": "search", "number": 4, **one.NLI}
    assert run.data.params == {name: str(value) for name, value in about.items()}
    history = {
        name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)] for name in run.data.metrics
    }
    assert history["loss"] == [(20, pytest.approx(1.25)), (60, pytest.approx(1.25))]
    assert history["task_loss/nli"] == [(20, 1.0), (60, 1.0)] and history["task_loss/qa"] == [(20, 2.0), (60, 2.0)]
    assert history[f"dev/{fake.TARGET.name}/en/accuracy"] == [(20, 0.5), (60, 0.5)]
    assert {f"lang/{language}/accuracy" for language in fake.LANGUAGES} <= set(history)
    if conducted.state is State.FINISHED:
        assert history["score"] == [(140, 0.7)] and "pruned_at_step" not in history
    else:
        assert "score" not in history and history["pruned_at_step"] == [(140, 50)]
        assert history["score_when_pruned"] == [(140, 0.4)]


def test_no_number_has_the_name_of_a_folder_of_another():
    """MLflow keeps a file for each in its store of files."""
    notebook = Notebook()
    tell(Mirrored(notebook, Conducted(0.7)))
    names = {name for entry in notebook.said if entry[0] == "result" for name in entry[2]}
    assert len(names) > 8
    assert [(one, other) for one in names for other in names if other.startswith(f"{one}/")] == []


def test_a_logger_that_fails_is_told_nothing_more_and_the_sweep_goes_on(caplog):
    notebook = Notebook("no network")
    tell(Mirrored(notebook, Conducted(None)))
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
