"""Claims about a sweep in other tools' formats: Optuna opens its studies, pandas and the rest its tables."""

from __future__ import annotations

import json

import optuna
import pyarrow.parquet as pq
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from sweep import Results, Sweep
from sweep.cli import main
from sweep.presets import PRESETS
from sweep.record_definition import described
from tests.pure import fake_sweep as fake
from tests.pure.small_sweep import ALONE, BASELINE, small_sweep
from trainables.canonical import decode, encode


@pytest.fixture(scope="module")
def storage(tmp_path_factory) -> str:
    """The fake sweep's trials under a definition that can be read back."""
    folder = tmp_path_factory.mktemp("export")
    fake.write(str(folder))
    sweep = small_sweep(name="fake", cells=(BASELINE, ALONE))
    path = folder / "sweeps" / "fake" / "definition.json"
    path.write_text(json.dumps({**described(sweep), "definition": encode(sweep)}))
    return str(folder)


def test_optuna_opens_every_cells_study_with_its_trials(storage, tmp_path, capsys):
    file = str(tmp_path / "studies.log")
    assert main(["export", "fake", "--storage", storage, "--optuna", file]) == 0
    journal = JournalStorage(JournalFileBackend(file))
    assert set(optuna.get_all_study_names(journal)) == {"fake/none", "fake/nli"}
    study = optuna.load_study(study_name="fake/nli", storage=journal)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE]
    assert study.best_trial.value == 0.7
    assert study.best_trial.params == {"intermediate.learning_rate": 0.002, "target.learning_rate": 0.003}
    assert study.best_trial.intermediate_values == {50: pytest.approx(0.6), 100: 0.7}
    assert main(["export", "fake", "--storage", storage, "--optuna", file]) == 2
    assert "must be a new file" in capsys.readouterr().err


def test_the_studies_open_in_optunas_dashboard(storage, tmp_path):
    dashboard = pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    file = str(tmp_path / "studies.log")
    main(["export", "fake", "--storage", storage, "--optuna", file])
    answer = []
    app = dashboard.wsgi(JournalStorage(JournalFileBackend(file)))
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/api/studies", "SERVER_NAME": "x", "SERVER_PORT": "80",
               "wsgi.url_scheme": "http", "wsgi.input": None, "wsgi.errors": None}  # fmt: skip
    body = b"".join(app(environ, lambda status, headers, *more: answer.append(status)))
    assert answer == ["200 OK"]
    assert {study["study_name"] for study in json.loads(body)["study_summaries"]} == {"fake/none", "fake/nli"}


def test_everything_is_exported_with_the_findings(storage, tmp_path):
    assert main(["export", "fake", "--storage", storage, "--tables", str(tmp_path)]) == 0
    assert {"comparisons.parquet", "importances.csv", "predictions.parquet"} <= {
        path.name for path in tmp_path.iterdir()
    }
    assert len(pq.read_table(tmp_path / "importances.parquet")) == 3


@pytest.mark.parametrize("sweep", [small_sweep(), *(make() for make in PRESETS.values())], ids=lambda one: one.name)
def test_a_definition_that_was_written_is_read_back_as_it_was(sweep):
    assert decode(Sweep, json.loads(json.dumps(encode(sweep)))) == sweep


def test_a_sweep_is_a_pandas_frame(storage):
    frame = Results.open(storage, "fake").to_pandas()
    assert list(frame["cell"].unique()) == ["nli", "none"]


def test_nothing_asked_for_is_said_so(storage, capsys):
    assert main(["export", "fake", "--storage", storage]) == 2
    assert "say what to export: --tables DIR, --optuna FILE" in capsys.readouterr().err
