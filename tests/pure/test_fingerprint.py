import json
import os
from dataclasses import replace

import pytest

from trainables.catalogue import lab
from trainables.catalogue.encoder import Encoder, HubEncoder, LocalEncoder, Patches, Tower
from trainables.catalogue.task import NLI_LABELS, Kind, LabSource, ParquetSource, Split, Task
from trainables.data import hub
from trainables.data.fingerprint import file_fingerprint, resolve, resolve_encoder, tokenizer_fingerprint
from trainables.faults import Invalid


def task(source) -> Task:
    splits = tuple(Split(name=name, languages=("en",)) for name in ("train", "dev", "test"))
    return Task(name="mine", kind=Kind.IMAGE_TEXT, labels=NLI_LABELS, splits=splits, source=source, licence="mine")


@pytest.fixture
def files(tmp_path):
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.parquet").write_bytes(name.encode())
    return ParquetSource(**{name: str(tmp_path / f"{name}.parquet") for name in ("train", "dev", "test")})


def test_a_fingerprint_follows_the_content_and_not_the_time(files, tmp_path):
    first = resolve(task(files)).source.fingerprint
    os.utime(files.train, ns=(1, 1))
    assert first.split()[0].startswith("dev:") and len(first.split()) == 3
    assert resolve(task(files)).source.fingerprint == first
    (tmp_path / "dev.parquet").write_bytes(b"Dev")
    os.utime(files.dev, ns=(2, 2))
    assert resolve(task(files)).source.fingerprint != first


def test_a_file_is_read_once_while_size_and_time_stay(tmp_path, monkeypatch):
    path = tmp_path / "one"
    path.write_bytes(b"one")
    first = file_fingerprint(path)
    monkeypatch.setattr("hashlib.file_digest", None)
    assert file_fingerprint(path) == first
    path.write_bytes(b"other")
    with pytest.raises(TypeError):
        file_fingerprint(path)


def test_a_lab_task_is_what_it_was():
    lab = task(LabSource(generator="visual_nli"))
    assert resolve(lab) is lab


def test_every_missing_file_is_named_with_the_nearest(files, tmp_path):
    (tmp_path / "dev.parquet").rename(tmp_path / "devel.parquet")
    (tmp_path / "test.parquet").unlink()
    with pytest.raises(Invalid) as refused:
        resolve(task(files))
    assert len(refused.value.faults) == 2
    assert "split 'dev' must exist" in refused.value.faults[0]
    assert "did you mean 'devel.parquet'?" in refused.value.faults[0]


def test_an_encoder_is_known_by_configuration_weights_and_tokenizer(tmp_path):
    patches = Patches(height=8, width=8, patch=4)
    encoder = Encoder(name="local", text=LocalEncoder(path=str(tmp_path / "model")), patches=patches)
    with pytest.raises(Invalid, match="must be a directory that AutoModel can load"):
        resolve_encoder(encoder)
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(Invalid) as refused:
        resolve_encoder(encoder)
    assert len(refused.value.faults) == 3
    for name in ("config.json", "model.safetensors", "tokenizer.json", "README.md"):
        (folder / name).write_text("{}")
    first = resolve_encoder(encoder).text.fingerprint
    (folder / "README.md").write_text("other words")
    assert resolve_encoder(encoder).text.fingerprint == first
    (folder / "tokenizer.json").write_text("other words")
    second, tokens = resolve_encoder(encoder).text.fingerprint, tokenizer_fingerprint(folder)
    assert second != first
    (folder / "bpe.codes").write_text("how PhoBERT and BERTweet join letters")
    assert resolve_encoder(encoder).text.fingerprint != second and tokenizer_fingerprint(folder) != tokens


@pytest.mark.parametrize(
    ("config", "usable"),
    [
        ('{"model_type": "mpnet", "max_position_embeddings": 514}', 512),
        ('{"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}', 512),
        ('{"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0}', 512),
    ],
)
def test_texts_longer_than_an_encoders_positions_are_refused(tmp_path, config, usable):
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "model.safetensors").write_text("weights")
    (tmp_path / "vocab.txt").write_text("[PAD]")
    encoder = replace(lab.ENCODER, text=LocalEncoder(path=str(tmp_path)), maximum_tokens=usable)
    resolve_encoder(encoder)
    with pytest.raises(Invalid, match=f"must be at most the {usable} positions of {tmp_path}, got {usable + 1}"):
        resolve_encoder(replace(encoder, maximum_tokens=usable + 1))


WHOLE = {
    "config.json": "{}",
    "model-1-of-2.safetensors": "",
    "model-2-of-2.safetensors": "",
    "model.safetensors.index.json": json.dumps({"weight_map": {n: f"model-{n}-of-2.safetensors" for n in (1, 2)}}),
    "sentencepiece.bpe.model": "",
    "tokenizer_config.json": "{}",
}


@pytest.mark.parametrize(
    ("absent", "told"),
    [
        ("config.json", "path must hold config.json"),
        ("model-2-of-2.safetensors", "path must hold every part that model.safetensors.index.json names, got"),
        ("model.safetensors.index.json", "path must hold weights as *.safetensors"),
        ("sentencepiece.bpe.model", "path must hold a tokenizer's vocabulary (tokenizer.json, vocab* or *.model), got"),
    ],
)
def test_an_encoder_without_a_part_of_its_files_is_refused(absent, told, tmp_path):
    for name, text in WHOLE.items():
        (tmp_path / name).write_text(text)
    encoder = replace(lab.ENCODER, text=LocalEncoder(path=str(tmp_path)))
    resolve_encoder(encoder)
    (tmp_path / absent).unlink()
    with pytest.raises(Invalid) as refused:
        resolve_encoder(encoder)
    assert len(refused.value.faults) == 1 and refused.value.faults[0].startswith(told)


@pytest.mark.parametrize("parts", [("config.json",), ("model.safetensors",), ("config.json", "model.safetensors")])
def test_a_tower_needs_its_image_processor_and_no_vocabulary(parts, tmp_path):
    for name in (*parts, "preprocessor_config.json"):
        (tmp_path / name).write_text("{}")
    encoder = replace(lab.ENCODER, patches=Tower(model=LocalEncoder(path=str(tmp_path))))
    if len(parts) == 2:
        resolve_encoder(encoder)
        (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(Invalid) as refused:
        resolve_encoder(encoder)
    assert len(refused.value.faults) == 1 and "the vision tower of" in str(refused.value)


@pytest.mark.parametrize("said", ["{", "[]"])
def test_a_configuration_that_is_no_json_object_is_refused(said, tmp_path):
    for name, text in (WHOLE | {"config.json": said}).items():
        (tmp_path / name).write_text(text)
    with pytest.raises(Invalid, match=r"config\.json must be a JSON object, got something else; save the model again"):
        resolve_encoder(replace(lab.ENCODER, text=LocalEncoder(path=str(tmp_path))))


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """The folder of someone/tiny in a hub's cache of this test's own; no connection."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub._snapshot.cache_clear()
    commit = "0123456789" * 4
    place = tmp_path / "models--someone--tiny"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    snapshot = place / "snapshots" / commit
    snapshot.mkdir(parents=True)
    yield snapshot
    hub._snapshot.cache_clear()


@pytest.mark.parametrize("absent", WHOLE)
def test_a_copy_of_a_part_of_a_model_is_none(absent, cached):
    model = HubEncoder(repository="someone/tiny")
    encoder = replace(lab.ENCODER, text=model)
    for name, text in WHOLE.items():
        if name != absent:
            (cached / name).write_text(text)
    if absent == "tokenizer_config.json":  # which need not be there
        assert hub.local_copy(model) == cached and resolve_encoder(encoder).text.revision == cached.name
        return
    assert hub.local_copy(model) is None
    with pytest.raises(Invalid) as refused:
        resolve_encoder(encoder)  # a run would fetch it, and has no connection
    assert "`hf download someone/tiny --revision main`" in str(refused.value)
    (told,) = hub.lacking(model)  # where the hub has no more, that does not help
    assert str(refused.value).count(told) == 1 and told.startswith("path must hold ")


def test_a_hub_model_is_found_in_this_machines_copy_and_pinned_to_its_commit(cached):
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (cached / name).write_text("{}")
    encoder = replace(lab.ENCODER, text=HubEncoder(repository="someone/tiny"))
    found = resolve_encoder(encoder).text
    assert found.revision == cached.name and found.fingerprint
    assert resolve_encoder(replace(encoder, text=found)).text == found
    for asked, words in (
        (HubEncoder(repository="someone/tiny", revision="v9"), "revision 'v9' must be on the hub or in this machine's"),
        (HubEncoder(repository="someone/absent"), "run `hf download someone/absent --revision main`"),
        (HubEncoder(repository="a/b--c"), "repository must be 'owner/name', got 'a/b--c'"),
    ):
        with pytest.raises(Invalid) as refused:
            resolve_encoder(replace(encoder, text=asked))
        assert words in str(refused.value)
