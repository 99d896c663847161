"""Claims about what is fetched from a hub: one of the tests' own, over HTTP, by the real one's client library."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from search_spaces import Cell
from sweep.absence import find
from sweep.cli import main
from tests.hub_server import TOKEN, Hub, Trouble, environment, reach, served
from tests.pure import published_files as files
from tests.pure.small_sweep import BASELINE, small_sweep
from trainables.catalogue import lab
from trainables.catalogue.encoder import Encoder, HubEncoder, Tower
from trainables.catalogue.intermediate import ANLI_PLUS, COMMONSENSE_QA, MNLI, QQP, SQUAD_V1
from trainables.catalogue.task import Task
from trainables.catalogue.xtreme import XQUAD
from trainables.data import hub as models
from trainables.data import places
from trainables.data.counted import remarks
from trainables.data.fingerprint import resolve, resolve_encoder
from trainables.data.reading import read
from trainables.data.tokens import tokenizer
from trainables.faults import Invalid
from trainables.stages import Evaluation, Shape, Stage, StageKind

XTREME, SQUAD, GLUE = "google/xtreme", "rajpurkar/squad", "nyu-mll/glue"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub of which this process has nothing yet, and no mirror folder."""
    monkeypatch.delenv(places.MIRROR, raising=False)
    models._snapshot.cache_clear()
    with served() as hub:
        reach(hub, tmp_path / "home" / "hub", monkeypatch)
        yield hub
    models._snapshot.cache_clear()


def pinned(task: Task) -> dict[str, str]:
    return dict(task.source.revisions)


def willing(task: Task) -> Task:
    """The task, to be downloaded with what it is learned from."""
    source = replace(task.source, download=True)
    return replace(task, source=source, learned_from=task.learned_from and willing(task.learned_from))


def publish_xquad(hub: Hub, folder: Path, languages: tuple[str, ...] = ("de", "en"), **more) -> None:
    """XQuAD, another data set in its repository, and SQuAD, which it is learned from."""
    for language in languages:
        asked = [files.question(f"{language} {number}") for number in range(3)]
        files.questions(folder / "xtreme" / f"XQuAD.{language}/validation-00000-of-00001.parquet", asked)
    files.nli(folder / "xtreme" / "XNLI/test-00000-of-00001.parquet")
    (folder / "xtreme" / "README.md").write_text("# XTREME")
    hub.push("datasets", XTREME, folder / "xtreme", **{"commit": pinned(XQUAD)[XTREME], **more})
    for split in ("train", "validation"):
        files.questions(folder / "squad" / f"plain_text/{split}-00000-of-00001.parquet", [files.question(split)])
    hub.push("datasets", SQUAD, folder / "squad", commit=pinned(SQUAD_V1)[SQUAD])


def publish_commonsense_qa(hub: Hub, folder: Path) -> None:
    import pyarrow as pa

    for split, letters in (("train", "CA"), ("validation", "B"), ("test", " ")):
        choices = {"label": list("ABCDE"), "text": ["one", "two", "three", "four", "five"]}
        columns = {
            "id": ([f"{split} {letter}" for letter in letters], pa.string()),
            "question": (["how many?"] * len(letters), pa.string()),
            "question_concept": (["number"] * len(letters), pa.string()),
            "choices": ([choices] * len(letters), files.CHOICES),
            "answerKey": ([letter.strip() for letter in letters], pa.string()),
        }
        files.parquet(folder / f"data/{split}-00000-of-00001.parquet", columns)
    (folder / "README.md").write_text("# CommonsenseQA")
    hub.push("datasets", "tau/commonsense_qa", folder, commit=pinned(COMMONSENSE_QA)["tau/commonsense_qa"])


def publish_glue(hub: Hub, folder: Path, **more) -> None:
    for split in ("train", "validation_matched", "validation_mismatched", "test_matched"):
        files.nli(folder / f"mnli/{split}-00000-of-00001.parquet", labels=(0, 1, 2, *([0] * len(split))))
    hub.push("datasets", GLUE, folder, **{"commit": pinned(MNLI)[GLUE], **more})


def rows(task: Task, split: str) -> list[dict]:
    return read(task, split, None, None).to_pylist()


def digest(task: Task, split: str) -> str:
    """Of a stage that scores the task, as it stands in the store."""
    work = Evaluation(task=task, split=split, languages=("en",))
    shape = Shape(workers=1, threads=1, precision="float32")
    made = Stage(kind=StageKind.EVALUATE, work=work, encoder=lab.ENCODER, parent="p", seed=1, shape=shape, versions=())
    return made.digest


def refusal(task: Task) -> str:
    with pytest.raises(Invalid) as caught:
        resolve(willing(task))
    (fault,) = caught.value.faults
    return fault


# The same reader


@pytest.mark.parametrize(
    ("task", "publish", "split", "wanted"),
    [
        (XQUAD, publish_xquad, "test", [*(f"XQuAD.{code}/validation" for code in ("de", "en"))]),
        (COMMONSENSE_QA, publish_commonsense_qa, "train", ["data/train", "data/validation"]),
    ],
)
def test_a_task_is_the_same_from_the_hub_from_its_cache_and_from_a_mirror_made_as_the_task_says(
    task, publish, split, wanted, tmp_path, monkeypatch
):
    monkeypatch.delenv(places.MIRROR, raising=False)
    (repository,) = pinned(task)
    with served() as hub:
        publish(hub, tmp_path / "published")
        reach(hub, tmp_path / "home" / "hub", monkeypatch)
        fetched = resolve(willing(task))
        inside = [path for path in hub.fetched() if not path.startswith("plain_text")]
        assert inside == [f"{path}-00000-of-00001.parquet" for path in wanted]
        assert all(
            pinned(task)[repository] in asked.request for asked in hub.asked if f"/{repository}/" in asked.request
        )
        mirror = tmp_path / "mirror"
        for told in dict.fromkeys(map(places.way, (task, task.teacher))):
            hf(told.partition("; ")[0].replace("DIR/", f"{mirror}/"), environment(hub, tmp_path / "other home"))
    cached = resolve(task)
    assert places.absence(task) == "" and Path(cached.source.folders[0][1]).is_relative_to(tmp_path / "home")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "nothing"))
    assert resolve(task).source.folders == ()
    monkeypatch.setenv(places.MIRROR, str(mirror))
    mirrored = resolve(task)
    assert mirrored.source.folders == ((repository, str(mirror / repository)),)
    assert len(rows(fetched, split)) == {"test": 6, "train": 2}[split]
    assert rows(fetched, split) == rows(cached, split) == rows(mirrored, split)
    assert digest(fetched, split) == digest(cached, split) == digest(mirrored, split)
    assert remarks(fetched) == remarks(cached) == remarks(mirrored)


def hf(command: str, variables: dict[str, str]) -> None:
    """Run what a message says to run."""
    program = [sys.executable, "-m", "huggingface_hub.cli.hf"]
    ended = subprocess.run(
        [*program, *shlex.split(command)[1:]], env=variables, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_what_one_task_needs_of_a_repository_hides_nothing_that_another_needs(hub, tmp_path):
    import pyarrow as pa

    for split in ("train", "validation"):
        columns = {name: ([split, "b"], pa.string()) for name in ("question1", "question2")}
        columns |= {"label": ([1, 0], pa.int64()), "idx": ([5, 6], pa.int32())}
        files.parquet(
            tmp_path / f"glue/qqp/{split}-00000-of-00001.parquet", columns, {"label": ("not_duplicate", "duplicate")}
        )
    publish_glue(hub, tmp_path / "glue")
    assert len(rows(resolve(willing(MNLI)), "dev")) == 21
    assert "no files of qqp in" in places.absence(QQP)
    assert len(rows(resolve(willing(QQP)), "train")) == 2
    assert places.absence(MNLI) == places.absence(QQP) == ""
    assert len(hub.fetched()) == 4  # each file once


def test_a_listing_in_pages_is_read_to_its_end(hub, tmp_path):
    hub.entries_on_a_page = 2
    publish_glue(hub, tmp_path)
    assert len(rows(resolve(willing(MNLI)), "dev")) == 21
    assert sum("cursor=" in asked.request for asked in hub.asked) == 2


def test_what_the_mirror_has_instead_is_not_asked_of_the_hub(hub, tmp_path, monkeypatch):
    place = tmp_path / "mirror" / "deepmind" / "xquad"
    place.mkdir(parents=True)
    for language in XQUAD.split("test").languages:
        (place / f"xquad.{language}.json").write_text("{}")
    monkeypatch.setenv(places.MIRROR, str(tmp_path / "mirror"))
    found = resolve(replace(willing(XQUAD), learned_from=SQUAD_V1))
    assert [name for name, _ in found.source.folders] == ["deepmind/xquad"] and hub.asked == []


def test_a_split_of_which_the_mirror_has_one_file_of_three_is_read_where_it_is_whole(hub, tmp_path, monkeypatch):
    for number in range(3):
        files.nli(tmp_path / f"glue/mnli/train-{number:05d}-of-00003.parquet", labels=(number,) * 4)
    files.nli(tmp_path / "glue/mnli/validation_matched-00000-of-00001.parquet")
    hub.push("datasets", GLUE, tmp_path / "glue", commit=pinned(MNLI)[GLUE])
    monkeypatch.setenv(places.MIRROR, str(tmp_path / "mirror"))
    files.nli(tmp_path / f"mirror/{GLUE}/mnli/train-00000-of-00003.parquet", labels=(1,))
    assert len(rows(resolve(willing(MNLI)), "train")) == 12
    assert len(rows(resolve(MNLI), "train")) == 12


# What a hub refuses


def without_revision(hub: Hub) -> None:
    hub.repositories["datasets", XTREME].commits.clear()


def without_repository(hub: Hub) -> None:
    del hub.repositories["datasets", XTREME]


def without_files(hub: Hub) -> None:
    (commit,) = hub.repositories["datasets", XTREME].commits
    hub.push("datasets", XTREME, {"README.md": b"moved"}, commit=commit)


def gated(hub: Hub) -> None:
    hub.repositories["datasets", XTREME].gated = True


def broken(request: str, status: int = 0, **more) -> Callable[[Hub], None]:
    return lambda hub: hub.troubles.append(Trouble(request, status=status, **more))


AT = f"{XTREME} at revision '{pinned(XQUAD)[XTREME]}' must "
LATER = "try the same command again later: files that came whole are kept; or hf download google/xtreme --repo-type"


@pytest.mark.parametrize(
    ("happens", "token", "arrived", "to_do"),
    [
        (without_revision, "", "got no revision 'ec5f", "of it; state one that is listed at http://"),
        (without_repository, "", "got no dataset of that name;", "correct it, or log in where it is private (`hf auth"),
        (without_files, "", "files of 'test' (XQuAD.ar/validation*, ", "got none; state a revision that has them in"),
        (gated, "", "got a refusal, because it is gated and no token came", "/datasets/google/xtreme and log in (`hf"),
        (gated, "hf_other", "gated and the token's owner has no access; accept its conditions at", "log in"),
        (broken("GET /api/datasets/google/*", 503), "", "got status 503; ", LATER),
        (broken("GET /api/datasets/google/*", 403), "", "got a refusal, status 403; log in with a token", "HF_TOKEN"),
        (broken("HEAD /datasets/google/*", 500), "", "got status 500; ", LATER),
        (broken("GET /cdn/*XQuAD*", 429), "", "got status 429, too many requests; ", LATER),
        (broken("GET /cdn/*XQuAD.de*", cut_after=0), "", "got no whole answer from http://127.0.0.1:", LATER),
    ],
)
def test_what_the_hub_does_not_give_is_told_with_what_arrived_and_what_to_do(
    happens, token, arrived, to_do, hub, tmp_path, monkeypatch
):
    publish_xquad(hub, tmp_path / "published")
    happens(hub)
    reach(hub, tmp_path / "home" / "hub", monkeypatch, token=token)
    told = refusal(XQUAD)
    assert told.startswith(AT) and arrived in told and to_do in told
    assert "\n" not in told
    assert places.absence(SQUAD_V1) == ""  # what came before stays


def test_a_file_that_xet_does_not_give_is_told_as_any_other_and_comes_without_it(hub, tmp_path, monkeypatch):
    pytest.importorskip("hf_xet", reason="without it the client fetches by HTTP alone")
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    publish_xquad(hub, tmp_path / "published")
    hub.names_xet = True
    told = refusal(XQUAD.teacher)
    assert any("/cas/" in asked.request for asked in hub.asked)
    assert f"got no whole answer from {hub.address} (Task error: File reconstruction error: " in told
    assert f"; {LATER.partition('; ')[0]}; or set HF_HUB_DISABLE_XET=1, which fetches by HTTP alone; or hf down" in told
    assert "\n" not in told
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    assert len(rows(resolve(willing(XQUAD.teacher)), "train")) == 1


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (
            RuntimeError("Task error: CAS Client Error: 429\nat once"),
            "no whole answer from {hub} (Task error: CAS Client",
        ),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "got I/O error: No space left on device"),
        (
            ValueError("Xet headers have not been correctly set"),
            "no whole answer from {hub} (Xet headers have not been",
        ),
    ],
)
def test_an_intermediate_task_that_xet_does_not_give_costs_its_own_cell_alone(raised, told, hub, monkeypatch):
    import huggingface_hub

    here = huggingface_hub.snapshot_download

    def asked(*names, local_files_only=False, **how):
        if local_files_only:
            return here(*names, local_files_only=True, **how)
        raise raised

    monkeypatch.setattr("huggingface_hub.snapshot_download", asked)
    cell = Cell(name="qqp", intermediates=(willing(QQP),))
    found = find(small_sweep(cells=(BASELINE, cell)), fetch=True)
    assert set(found.absent_cells) == {"qqp"} and told.format(hub=hub.address) in found.absent["qqp"]
    assert ("HF_HUB_DISABLE_XET" in found.absent["qqp"]) == ("{hub}" in told) and "\n" not in found.absent["qqp"]


def test_a_target_that_the_hub_does_not_give_leaves_no_cell_and_an_intermediate_task_its_own(hub, tmp_path):
    publish_xquad(hub, tmp_path / "published")
    without_revision(hub)
    cell = Cell(name="xquad", intermediates=(willing(QQP),))
    found = find(small_sweep(cells=(BASELINE, cell)), fetch=True)
    assert set(found.absent_cells) == {"xquad"} and "no dataset of that name" in found.absent_cells["xquad"]
    sweep = small_sweep(target=willing(XQUAD), cells=(BASELINE,), align_images=None, pretrain=None)
    (told,) = find(sweep, fetch=True).unable
    assert told.startswith(f"xquad is absent: {AT}be downloadable from the hub, got no revision")


def test_a_split_that_the_revision_lacks_is_named_though_the_others_came(hub, tmp_path):
    files.nli(tmp_path / "mnli/train-00000-of-00001.parquet")
    hub.push("datasets", GLUE, tmp_path, commit=pinned(MNLI)[GLUE])
    told = refusal(MNLI)
    assert "must have files of 'dev' (mnli/validation_matched*), got none; state a revision that has them" in told


def test_a_run_without_its_encoder_or_target_ends_before_it_has_begun(hub, tmp_path, capsys):
    file = tmp_path / "mine.py"
    publish_commonsense_qa(hub, tmp_path / "published")
    file.write_text(DEFINITION)
    assert main(["run", str(file), "--storage", str(tmp_path / "storage")]) != 0
    assert (
        f"model '{TINY}' cannot be used:" in (said := capsys.readouterr().err) and "got no model of that name" in said
    )
    tokenizer(lab.ENCODER).save_pretrained(tmp_path / "words")  # a run reads the tokenizer before it looks further
    hub.push("models", TINY, MODEL | {path.name: path.read_bytes() for path in (tmp_path / "words").iterdir()})
    hub.troubles.append(Trouble("GET /api/datasets/google/*", status=500))
    file.write_text(f"{DEFINITION}\nfrom trainables.catalogue.xtreme import XQUAD\n{ON_XQUAD}")
    assert main(["run", str(file), "--storage", str(tmp_path / "storage")]) != 0
    assert "xquad is absent: google/xtreme at revision" in (said := capsys.readouterr().err) and "status 500" in said
    assert not list((tmp_path / "storage").rglob("*.json"))


ON_XQUAD = """
XQUAD = replace(XQUAD, source=replace(XQUAD.source, download=True))
sweep = replace(sweep, target=XQUAD, pretrain=None, align_images=None)
"""


def test_every_repository_that_gives_nothing_is_named_at_once(hub):
    with pytest.raises(Invalid) as caught:
        resolve(willing(ANLI_PLUS))
    named = [fault.split(" at revision ")[0] for fault in caught.value.faults]
    assert sorted(named) == ["facebook/anli", GLUE, "stanfordnlp/snli"]


def test_a_hub_that_is_off_and_one_that_must_not_be_asked(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert "got no whole answer from http://127.0.0.1:9 ([Errno 111] Connection refused)" in refusal(XQUAD.teacher)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "got no request, because HF_HUB_OFFLINE is set; unset it; or hf download rajp" in refusal(XQUAD.teacher)
    assert hub.asked == []


# A line that breaks


def test_a_download_that_breaks_goes_on_where_it_broke(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 500)  # bytes of which none is asked for twice
    publish_xquad(hub, tmp_path / "published")
    hub.troubles.append(Trouble("GET /cdn/*XQuAD.de*", times=1, cut_after=1000))
    hub.troubles.append(Trouble("* /api/datasets/google/*", times=2, status=502))
    fetched = resolve(willing(XQUAD))
    (again,) = [asked for asked in hub.asked if "XQuAD.de" in asked.request and asked.range]
    assert again.range == "bytes=1000-"
    arrived = Path(fetched.source.folders[0][1]) / "XQuAD.de/validation-00000-of-00001.parquet"
    sent = tmp_path / "published/xtreme/XQuAD.de/validation-00000-of-00001.parquet"
    assert arrived.read_bytes() == sent.read_bytes()


def test_what_came_before_a_line_broke_for_good_is_kept_and_the_rest_is_fetched_by_the_next_run(hub, tmp_path):
    for number in range(3):
        files.nli(tmp_path / f"glue/mnli/train-{number:05d}-of-00003.parquet", labels=(number,) * 4)
    publish_glue(hub, tmp_path / "glue")
    (tmp_path / "glue/mnli/train-00000-of-00001.parquet").unlink()
    hub.push("datasets", GLUE, tmp_path / "glue", commit=pinned(MNLI)[GLUE])
    hub.troubles.append(Trouble("GET /cdn/*train-00001*", cut_after=10, times=1))
    hub.troubles.append(Trouble("GET /cdn/*train-00001*", cut_after=0))
    assert "got no whole answer from" in refusal(MNLI)
    hub.troubles.clear()
    hub.asked.clear()
    assert len(rows(resolve(willing(MNLI)), "train")) == 12
    assert "mnli/train-00001-of-00003.parquet" in hub.fetched() and len(hub.fetched()) < 4
    assert places.absence(MNLI) == ""


# Which commit


def test_the_commit_that_is_pinned_is_read_though_main_has_moved_on(hub, tmp_path):
    publish_glue(hub, tmp_path / "glue")
    files.nli(tmp_path / "later/mnli/train-00000-of-00001.parquet")
    files.nli(tmp_path / "later/mnli/validation_matched-00000-of-00001.parquet", labels=(0,))
    hub.push("datasets", GLUE, tmp_path / "later", commit="e" * 40)
    found = resolve(willing(MNLI))
    assert Path(found.source.folders[0][1]).name == pinned(MNLI)[GLUE]
    assert len(rows(found, "dev")) == 21
    unpinned = willing(replace(MNLI, source=replace(MNLI.source, revisions=())))
    assert Path(resolve(unpinned).source.folders[0][1]).name == "e" * 40
    assert len(rows(resolve(MNLI), "dev")) == 21  # the newer commit beside it changes nothing


# Models

TINY = "someone/tiny"
ENCODER = replace(lab.ENCODER, text=HubEncoder(repository=TINY))
MODEL = {
    "config.json": b'{"model_type": "bert", "max_position_embeddings": 512}',
    "model.safetensors": b"\2\0\0\0\0\0\0\0{}",
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"the same weights",
    "README.md": b"# Tiny",
}


def unable(encoder: Encoder) -> str:
    with pytest.raises(Invalid) as caught:
        resolve_encoder(encoder)
    (fault,) = caught.value.faults
    return fault


def elsewhere(hub: Hub, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Go on as another process, on a machine that has nothing yet."""
    models._snapshot.cache_clear()
    reach(hub, folder / "hub", patch)


def test_a_model_is_fetched_without_what_does_not_count_and_pinned_to_what_main_was(hub, tmp_path, monkeypatch):
    first = hub.push("models", TINY, MODEL)
    found = resolve_encoder(ENCODER).text
    assert found.revision == first and hub.fetched() == ["config.json", "model.safetensors", "tokenizer.json"]
    second = hub.push("models", TINY, MODEL | {"model.safetensors": b"other weights"})
    models._snapshot.cache_clear()
    assert resolve_encoder(ENCODER).text == found  # what this machine has is not asked for again
    elsewhere(hub, tmp_path / "other", monkeypatch)
    assert resolve_encoder(replace(ENCODER, text=found)).text == found  # a gang's machine is given the commit
    elsewhere(hub, tmp_path / "third", monkeypatch)
    other = resolve_encoder(ENCODER).text
    assert other.revision == second and other.fingerprint != found.fingerprint


def test_a_tag_and_a_commit_of_a_model_are_read_as_stated(hub):
    first = hub.push("models", TINY, MODEL, to="v1")
    hub.push("models", TINY, MODEL | {"model.safetensors": b"other weights"})
    for revision in ("v1", first):
        assert (
            resolve_encoder(replace(ENCODER, text=HubEncoder(repository=TINY, revision=revision))).text.revision
            == first
        )


@pytest.mark.parametrize(
    ("repository", "revision", "told"),
    [
        (
            TINY,
            "v9",
            "revision 'v9' must be on the hub or in this machine's copy of it, got no revision 'v9' of it; state",
        ),
        (
            TINY,
            "0" * 40,
            "got no revision '0000000000000000000000000000000000000000' of it; state one that is listed at",
        ),
        (
            "someone/absent",
            "main",
            "got no model of that name; correct it, or log in where it is private (`hf auth login`",
        ),
        (
            "someone/gated",
            "main",
            "because it is gated and no token came with the request; accept its conditions at http",
        ),
        ("someone/bare", "main", "path must hold weights as *.safetensors, got"),
        (
            "someone/down",
            "main",
            "got status 503; try the same command again later: files that came whole are kept; or run",
        ),
    ],
)
def test_a_model_that_the_hub_does_not_give_is_told_with_what_to_do(repository, revision, told, hub):
    for name in (TINY, "someone/gated", "someone/down"):
        hub.push("models", name, MODEL)
    bare = {name: MODEL[name] for name in MODEL if name != "model.safetensors"} | {"preprocessor_config.json": b"{}"}
    hub.push("models", "someone/bare", bare)
    hub.repositories["models", "someone/gated"].gated = True
    hub.troubles.append(Trouble("* /someone/down/*", status=503))
    model = HubEncoder(repository=repository, revision=revision)
    assert told in unable(replace(ENCODER, text=model))
    assert told in unable(replace(ENCODER, patches=Tower(model=model), text=lab.ENCODER.text))
    other = repository in ("someone/gated", "someone/down")
    assert other == (f"; or run `hf download {repository} --revision main`" in unable(replace(ENCODER, text=model)))


def test_a_model_of_which_the_weights_did_not_come_is_no_copy_and_the_next_run_fetches_them_alone(hub):
    hub.push("models", TINY, MODEL)
    hub.troubles.append(Trouble("GET /cdn/*", cut_after=3))
    assert "got no whole answer from" in unable(ENCODER)
    assert models.local_copy(ENCODER.text) is None
    hub.troubles.clear()
    hub.asked.clear()
    assert resolve_encoder(ENCODER).text.fingerprint
    assert hub.fetched() == ["model.safetensors"]


@pytest.mark.parametrize("fetched", [("config.json", "tokenizer.json"), ("config.json", "model.safetensors")])
def test_a_copy_that_another_program_has_of_a_part_of_a_model_is_completed(fetched, hub):
    from huggingface_hub import hf_hub_download

    hub.push("models", TINY, MODEL)
    for name in fetched:
        hf_hub_download(TINY, name)
    assert models.local_copy(ENCODER.text) is None
    assert resolve_encoder(ENCODER).text.fingerprint
    assert models.local_copy(ENCODER.text) is not None


def test_a_model_without_safetensors_is_told_as_that_and_not_as_one_that_is_not_here(hub, tmp_path, capsys):
    """Its copy is as whole as the hub's: to fetch it again changes nothing."""
    hub.push("models", TINY, {name: content for name, content in MODEL.items() if name != "model.safetensors"})
    file = tmp_path / "mine.py"
    file.write_text(DEFINITION)
    asked = f"hf download {TINY} --revision main"
    assert main(["plan", str(file)]) == 0
    assert f"no copy of {TINY} on this machine; {asked}" in capsys.readouterr().out
    hf(asked, environment(hub, tmp_path / "home"))
    hub.asked.clear()
    assert main(["plan", str(file)]) == 0
    said = capsys.readouterr().out
    assert f"the copy of {TINY} on this machine cannot be used: path must hold weights as *.safetensors, got" in said
    assert f"convert them with save_pretrained; or where the hub has more than this copy, {asked} comp" in said
    assert "no copy of" not in said and hub.asked == []


def test_a_token_is_shown_to_the_hub_and_to_no_other_host(hub, tmp_path, monkeypatch):
    hub.push("models", TINY, MODEL)
    hub.repositories["models", TINY].gated = True
    reach(hub, tmp_path / "home" / "hub", monkeypatch, token=TOKEN)
    resolve_encoder(ENCODER)
    shown = {asked.host.partition(":")[0]: asked.token for asked in hub.asked}
    assert shown == {"127.0.0.1": TOKEN, "localhost": ""}


def test_a_plan_asks_no_hub_and_says_what_is_absent_until_a_run_or_the_command_that_it_names_has_fetched_it(
    hub, tmp_path, capsys
):
    hub.push("models", TINY, MODEL)
    publish_commonsense_qa(hub, tmp_path / "published")
    file = tmp_path / "mine.py"
    file.write_text(DEFINITION)
    assert main(["plan", str(file)]) == 0
    said = capsys.readouterr().out
    assert f"no copy of {TINY} on this machine; hf download {TINY} --revision main, or let `sweep run` fetch it" in said
    assert "commonsense_qa: no files of commonsense_qa in the mirror folder or the hub's cache; hf download tau" in said
    assert "then pass --data DIR, or let `sweep run` fetch it" in said
    assert hub.asked == []
    hf(f"hf download {TINY} --revision main", environment(hub, tmp_path / "home"))
    resolve(willing(COMMONSENSE_QA))
    hub.asked.clear()
    assert main(["plan", str(file)]) == 0
    said = capsys.readouterr().out
    assert "absent" not in said and "2 rows of tau/commonsense_qa" in said
    assert hub.asked == []


DEFINITION = """
from dataclasses import replace
from search_spaces import Cell
from tests.pure.small_sweep import BASELINE, small_sweep
from trainables.catalogue import lab
from trainables.catalogue.encoder import HubEncoder
from trainables.catalogue.intermediate import COMMONSENSE_QA

WILLING = replace(COMMONSENSE_QA, source=replace(COMMONSENSE_QA.source, download=True))
sweep = small_sweep(
    encoder=replace(lab.ENCODER, text=HubEncoder(repository="someone/tiny")),
    cells=(BASELINE, Cell(name="commonsense_qa", intermediates=(WILLING,))),
)
"""
