"""What a machine lacks is found before training, each fault with what to change; and what no cluster could hold."""

from __future__ import annotations

import errno
import io
from dataclasses import replace
from pathlib import Path

import pytest

from search_spaces import Cell
from sweep.cluster import Provider, need_of
from sweep.cluster_text import cluster_text
from sweep.presets import PRESETS, SUITES
from sweep.roll_call import (
    KUBERNETES,
    _files,
    _precision_faults,
    cluster_faults,
    machines_to_come,
    may_grow,
    placing_faults,
    posed,
)
from sweep.submit import _storage_faults, _unreachable
from tests.pure import published_files
from tests.pure.small_sweep import BASELINE, small_sweep
from trainables.catalogue.encoder import LocalEncoder
from trainables.catalogue.intermediate import MNLI
from trainables.catalogue.own_texts import sentence_task
from trainables.data import places
from trainables.data.fingerprint import resolve
from trainables.equipment import Question, answer, lacks
from trainables.faults import Invalid
from trainables.gangs import GangKind, Gangs
from trainables.machine import numeric_versions
from trainables.places import NotAsWritten
from trainables.settings import Precision

TOKEN = "0123"
TWO = [{"CPU": 4.0, "GPU": 1.0}, {"CPU": 4.0, "GPU": 1.0}]


def question(storage: Path, **more) -> Question:
    storage.mkdir(exist_ok=True)
    (storage / "probe").write_text(TOKEN)
    asked = {"storage": str(storage), "probe": "probe", "token": TOKEN, "versions": numeric_versions(), "files": ()}
    return Question(**{**asked, **more})


def test_a_machine_that_has_everything_has_no_fault(tmp_path):
    (tmp_path / "rows.parquet").write_bytes(b"1234")
    asked = question(tmp_path / "storage", files=((str(tmp_path / "rows.parquet"), 4),))
    assert answer(asked) == []
    assert [file.name for file in (tmp_path / "storage").iterdir()] == ["probe"]


def test_a_storage_of_another_machine_is_told_from_the_same_path_here(tmp_path):
    asked = replace(question(tmp_path), probe="another")
    (fault,) = answer(asked)
    assert "as the driver does, got a place without the driver's file; use a storage that every machine sees" in fault


def test_the_same_path_with_the_file_of_another_driver_is_a_fault(tmp_path):
    (fault,) = answer(replace(question(tmp_path), token="9999"))
    assert "what the driver wrote there, got other content; use a storage that every machine sees" in fault


def test_what_is_asked_can_be_answered_while_the_sweep_runs_and_leaves_nothing_behind(tmp_path, monkeypatch):
    (tmp_path / "here/sweeps/small").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with posed(small_sweep(), "here") as asked:
        monkeypatch.chdir("/")  # where other processes start is not for the driver to say
        assert answer(asked) == []
        assert answer(replace(asked, storage=str(tmp_path / "elsewhere"))) != []
    assert answer(asked) != []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_storage_that_cannot_be_written_is_a_fault(tmp_path):
    (tmp_path / "file").write_text("")
    (fault,) = answer(replace(question(tmp_path), storage=str(tmp_path / "file" / "inside")))
    assert "it must" in fault and "a storage that every machine sees" in fault


class Silent:
    """A store of which reading or writing raises."""

    root = "bucket"

    def __init__(self, error: OSError, *, reads: bool) -> None:
        self.error, self.reads, self.filesystem = error, reads, self

    def open_input_stream(self, _: str) -> io.BytesIO:
        if not self.reads:
            raise self.error
        return io.BytesIO(TOKEN.encode())

    def check_writable(self) -> None:
        raise Invalid("the store", ["it must be writable"]) from self.error


LASTING = [
    PermissionError(errno.EACCES, "Permission denied"),
    OSError(errno.EROFS, "Read-only file system"),
    OSError("When reading information: AWS Error ACCESS_DENIED during HeadObject operation"),
]
PASSING = [
    OSError("When reading information: AWS Error NETWORK_CONNECTION during HeadObject operation"),
    OSError(errno.ENOSPC, "No space left on device"),
    TimeoutError(errno.ETIMEDOUT, "Connection timed out"),
    NotAsWritten("it has other content"),
]


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("error", [*LASTING, *PASSING], ids=str)
def test_a_storage_that_does_not_answer_is_no_lack_for_good_and_rights_that_are_not_there_are(
    tmp_path, monkeypatch, error, reads
):
    monkeypatch.setattr("trainables.equipment.Store", lambda _: Silent(error, reads=reads))
    asked = question(tmp_path, versions=(("torch", "1.0.0"),))
    if error in PASSING:
        with pytest.raises(OSError) as raised:
            lacks(asked)
        assert raised.value is error
    else:
        storage, version = lacks(asked)
        assert storage.startswith("it must write to ") and version.startswith("torch must be the driver's")
    storage, version = answer(asked)  # before anything trains nobody waits for it
    assert storage.startswith("it must write to ") and "check its credentials" in storage
    assert version.startswith("torch must be the driver's")


def test_another_version_of_a_library_is_a_fault(tmp_path):
    (fault,) = answer(question(tmp_path, versions=(("torch", "1.0.0"),)))
    assert fault.startswith("torch must be the driver's, 1.0.0, got 2.")
    assert "`ray up` the cluster again" in fault


def test_data_on_the_drivers_machine_alone_are_a_fault(tmp_path):
    (tmp_path / "short").write_bytes(b"1")
    files = ((str(tmp_path / "rows.parquet"), 4), (str(tmp_path / "short"), 2))
    missing, short = answer(question(tmp_path / "storage", files=files))
    assert "rows.parquet must be there, got no such file: it is on the driver's machine only" in missing
    assert "file_mounts" in missing
    assert "short must be the driver's, of 2 bytes, got one of 1" in short


def test_the_files_asked_for_are_those_behind_fingerprints(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    base = small_sweep()
    text = LocalEncoder(path=str(tmp_path), fingerprint="abc")
    asked = list(_files(replace(base, encoder=replace(base.encoder, text=text))))
    assert asked == [(str(tmp_path / "config.json"), 2)]
    assert list(_files(base)) == []


def test_files_of_several_languages_and_of_published_data_sets_are_asked_for_too(tmp_path, monkeypatch):
    monkeypatch.setenv(places.MIRROR, str(tmp_path / "mirror"))
    published_files.nli(tmp_path / "mirror/nyu-mll/glue/mnli/train-00000-of-00001.parquet")
    for language in ("de", "fr"):
        (tmp_path / f"{language}.txt").write_text("one\ntwo\n")
    text = resolve(sentence_task("own", train=tmp_path / "{language}.txt", languages=("de", "fr")))
    cells = (BASELINE, Cell(name="mixed", intermediates=(resolve(MNLI), text)))
    asked = [name for name, _ in _files(small_sweep(cells=cells))]
    assert {Path(name).name for name in asked} == {"train-00000-of-00001.parquet", "de.txt", "fr.txt"}


def test_a_worker_lies_on_one_machine_whatever_they_sum_up_to():
    gangs = Gangs(count=1, workers=1, gpus_per_worker=2.0)
    (fault,) = placing_faults(gangs, TWO)
    assert "got room for 0 workers (machines: 2 × 4 CPU, 1 GPU); use smaller workers" in fault
    assert placing_faults(replace(gangs, workers=2, gpus_per_worker=1.0), TWO) == []


def test_fewer_gpus_than_the_gangs_need_are_refused_with_the_count_that_fits():
    (fault,) = placing_faults(Gangs(count=3, gpus_per_worker=1.0), TWO)
    assert "3 gangs × 1 workers must fit on the machines" in fault and "use count=2" in fault


@pytest.mark.parametrize("gangs", [Gangs(count=9, elastic=True), Gangs(count=9, kind=GangKind.REHEARSAL)])
def test_gangs_that_may_wait_or_ask_for_nothing_are_not_refused(gangs):
    assert placing_faults(gangs, TWO) == []


def test_an_elastic_gang_is_refused_where_no_machine_that_may_be_rented_holds_it():
    gangs = Gangs(workers=2, gpus_per_worker=2.0, elastic=True)
    (fault,) = placing_faults(gangs, [{"CPU": 4.0}], [{"CPU": 4.0, "GPU": 1.0}] * 8)
    assert "machines that the cluster may rent, got one that waits for machines: a gang asks for 2 workers" in fault
    assert "of 1 CPU, 2 GPU, got room for 0 (machines: 8 × 4 CPU, 1 GPU)" in fault
    assert "`sweep cluster --for` writes a configuration that has them" in fault
    assert placing_faults(gangs, [{"CPU": 4.0}], [{"CPU": 4.0, "GPU": 2.0}] * 2) == []
    assert placing_faults(gangs, [{"CPU": 4.0, "GPU": 4.0}], [{"CPU": 4.0, "GPU": 1.0}]) == []
    assert placing_faults(gangs, [{"CPU": 4.0}], None) == []


def test_gangs_that_are_not_elastic_wait_for_machines_that_hold_all_of_them():
    gangs, head, one = Gangs(count=2, gpus_per_worker=1.0), [{"CPU": 0.0}], {"CPU": 4.0, "GPU": 1.0}
    assert placing_faults(gangs, head, [one] * 2) == []
    assert placing_faults(gangs, [*head, one], [one] * 2) == []
    (fault,) = placing_faults(gangs, [*head, one], [one])
    assert "got room for 1 workers (machines: 0 CPU, 0 GPU; 4 CPU, 1 GPU), and for 1 on those that the cluster" in fault
    assert fault.endswith(
        "may rent (machines: 4 CPU, 1 GPU); use count=1, or elastic=True for gangs that wait for more"
    )
    assert placing_faults(gangs, head, [])[0].endswith(
        "use smaller workers or larger machines, or elastic=True for gangs that wait for more"
    )
    assert placing_faults(gangs, head, None) and placing_faults(gangs, head, None, may_grow=True) == []


def test_a_cluster_grows_by_the_configuration_of_its_head_or_on_kubernetes(monkeypatch):
    monkeypatch.delenv(KUBERNETES, raising=False)
    assert (may_grow(None), may_grow([]), may_grow(TWO)) == (False, False, True)
    monkeypatch.setenv(KUBERNETES, "1")
    assert (may_grow(None), may_grow([])) == (True, False)


@pytest.mark.parametrize("provider", [Provider.AWS, Provider.GCP])
def test_every_preset_runs_on_the_cluster_that_is_written_for_it_though_that_begins_with_a_head_alone(
    tmp_path, provider
):
    config, head = tmp_path / "config.yaml", {"NodeID": "h", "Resources": {"CPU": 0.0}}
    presets = [preset() for preset in PRESETS.values()]
    for sweep in (*presets, *(suite().sweeps[0] for suite in SUITES.values())):
        config.write_text(cluster_text(need_of(sweep), provider))
        to_come = machines_to_come(config)
        assert to_come and placing_faults(sweep.gangs, [head["Resources"]], to_come) == [], sweep.name
        assert list(_precision_faults(sweep, [head], "h")) == [], sweep.name


def test_the_machines_that_may_be_rented_are_those_of_the_configuration_on_the_head(tmp_path):
    config = tmp_path / "config.yaml"
    assert machines_to_come(config) is None
    found = machines_to_come(Path(__file__).parents[2] / "cluster.yaml")
    assert found is not None and len(found) == 10  # eight on the spot market and, where that has none, two on demand
    assert all(machine["GPU"] == 1 for machine in found)
    two = "{head: {resources: {CPU: 0}}, small: {resources: {CPU: 1}, max_workers: 2}, large: {resources: {CPU: 9}}}"
    config.write_text(f"max_workers: 3\nhead_node_type: head\navailable_node_types: {two}\n")
    assert machines_to_come(config) == [{"CPU": 9}] * 3, "as many as may be there at once, the largest first"
    kinds = "{head: {resources: {CPU: 0}}, mine: {resources: {}}}"
    config.write_text(f"max_workers: 2\nhead_node_type: head\navailable_node_types: {kinds}\n")
    assert machines_to_come(config) is None, "machines of one's own say themselves what they have"


def test_an_accelerator_that_no_machine_has_is_named():
    (fault,) = placing_faults(Gangs(gpus_per_worker=1.0, accelerator="A100"), TWO)
    assert "1 CPU, 1 GPU of type A100 each, got room for 0 workers" in fault


def test_a_head_without_a_gpu_decides_no_precision_of_gangs_that_have_some():
    head, worker = (
        {"NodeID": name, "Resources": {"CPU": 4.0} | more} for name, more in (("h", {}), ("w", {"GPU": 1.0}))
    )
    here = {"NodeID": "h", "Resources": {"CPU": 4.0, "GPU": 1.0}}
    stated = small_sweep(gangs=Gangs(gpus_per_worker=1.0))
    auto = replace(stated, target_settings=replace(stated.target_settings, precision=Precision.AUTO))
    faults = list(_precision_faults(auto, [head, worker], "h"))
    assert len(faults) == 1 and "target_settings must state its precision, got Precision.AUTO on a head" in faults[0]
    assert "use Precision.BFLOAT16 for GPUs from Ampere on" in faults[0]
    assert list(_precision_faults(auto, [here, worker], "h")) == []
    assert list(_precision_faults(stated, [head, worker], "h")) == []


@pytest.mark.parametrize("storage", ["s3://bucket/folder", "/mnt/all"])
def test_a_place_that_a_cluster_could_see_is_taken(storage):
    assert _storage_faults(storage) == []


def test_a_relative_folder_is_no_storage_of_a_cluster():
    assert "an absolute path that every machine of the cluster sees, got 'sweeps'" in _storage_faults("sweeps")[0]


def test_a_dead_address_and_a_wrong_token_are_told_apart():
    assert "open a tunnel with `ray dashboard cluster.yaml`" in _unreachable(ConnectionError("refused"))
    assert "copy ~/.ray/auth_token" in _unreachable(RuntimeError("Request failed with status code 403: invalid"))


def test_a_fault_of_several_machines_is_told_once_and_a_machine_that_is_gone_has_none():
    nodes = [{"NodeID": name, "NodeManagerAddress": f"10.0.0.{name}"} for name in "123"]
    heard = [(nodes[1], ["it lacks this"]), (nodes[0], ["it lacks this"]), (nodes[2], ["it must answer"])]
    assert cluster_faults(heard, living={"1", "2"}) == ["10.0.0.1, 10.0.0.2: it lacks this"]
    assert "10.0.0.3: it must answer" in cluster_faults(heard, living={"1", "2", "3"})
