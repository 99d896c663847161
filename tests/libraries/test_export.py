"""Claims about a sweep in other tools' formats: Optuna opens its studies, pandas and the rest its tables."""

from __future__ import annotations

import json

import optuna
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from sweep import Results, Sweep
from sweep.cli import main
from sweep.export import journal
from sweep.ledger import Ledger
from sweep.presets import PRESETS
from sweep.record_definition import described
from sweep.records import Phase, TrialKey, What
from tests.pure import fake_sweep as fake
from tests.pure.small_sweep import ALONE, BASELINE, MIXED, small_sweep
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
    studies = JournalStorage(JournalFileBackend(file))
    assert set(optuna.get_all_study_names(studies)) == {"fake/none", "fake/nli"}
    study = optuna.load_study(study_name="fake/nli", storage=studies)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE]
    assert study.best_trial.value == 0.7
    assert study.best_trial.params == {"intermediate.learning_rate": 0.002, "target.learning_rate": 0.003}
    assert study.best_trial.intermediate_values == {50: pytest.approx(0.6), 100: 0.7}
    assert main(["export", "fake", "--storage", storage, "--optuna", file]) == 2
    assert "must be a new file" in capsys.readouterr().err


def test_a_mixture_stands_in_its_study_with_shares_and_its_draws_beside_them(tmp_path):
    fake.write(str(tmp_path), name="mixed")
    ledger = Ledger(pafs.LocalFileSystem(), str(tmp_path), "mixed").open()
    sweep = small_sweep(name="mixed", cells=(BASELINE, MIXED))
    draws = {name: 0.25 if "share" in name else 1e-3 for name in sweep.parameters(MIXED)} | {"share.lab_qqp": 0.0625}
    trial = fake.trial(TrialKey(cell=MIXED.name, phase=Phase.SEARCH, number=0), score=0.5, ending=What.FINISHED)
    trial[0].payload.update(draws=draws, values=sweep.space.values(MIXED, draws))
    for entry in trial:
        ledger.record(entry)
    stated = {**described(sweep), "definition": encode(sweep)}
    (tmp_path / "sweeps" / "mixed" / "definition.json").write_text(json.dumps(stated))
    journal(str(tmp_path / "studies.log"), Results.open(str(tmp_path), "mixed"))
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "studies.log")))
    (found,) = optuna.load_study(study_name=f"mixed/{MIXED.name}", storage=storage).trials
    shares = {name: value for name, value in found.params.items() if name.startswith("share.")}
    assert shares == {"share.lab_nli": pytest.approx(0.1 + 0.8 / 3), "share.lab_qqp": pytest.approx(0.1 + 1.6 / 3)}
    assert found.user_attrs == {"draw.share.lab_nli": 0.25, "draw.share.lab_qqp": 0.0625}


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
