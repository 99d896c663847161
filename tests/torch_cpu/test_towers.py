"""Frozen vision towers: what comes out of them, once per image, and a path of stages on it; judges no accuracy."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.torch_cpu import tiny, towers
from trainables.catalogue.encoder import LocalEncoder, Patches, Tower
from trainables.data import images, tower
from trainables.data import rows as laid_out
from trainables.data.fingerprint import resolve_encoder
from trainables.data.model_files import TOWERS
from trainables.data.rows import rows
from trainables.faults import Invalid
from trainables.settings import Alignment, Part
from trainables.stages import StageKind
from trainables.training.loop import run_stage

KINDS = ("siglip", "clip", "siglip2")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: towers.save(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


def tower_of(folder, **more) -> Tower:
    return Tower(model=LocalEncoder(path=str(folder)), **{"grid": 2, **more})


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_has_the_same_vectors_alone_and_among_others(folders, kind):
    make = tower.features(tower_of(folders[kind]))
    several = make([towers.picture(seed) for seed in range(3)])
    assert several.shape == (3, 4, towers.WIDTH) and several.dtype == np.float16
    assert np.array_equal(make([towers.picture(1)])[0], several[1])
    assert not np.array_equal(several[0], several[1])


@pytest.mark.parametrize("kind", ("siglip", "clip"))
def test_an_unpooled_grid_is_the_towers_own_patches_without_its_class_vector(folders, kind):
    from transformers import AutoModel

    white = Image.new("RGB", (32, 32), (255, 255, 255))
    found = tower.features(tower_of(folders[kind], grid=towers.SIDE, layers_from_end=2))([_png(white)])
    model = AutoModel.from_pretrained(folders[kind]).eval()
    processor = tower._load(tower_of(folders[kind]))[1]
    with torch.no_grad():
        given = processor(images=[white], return_tensors="pt")["pixel_values"]
        vision = getattr(model, "vision_model", model)
        hidden = vision(pixel_values=given, output_hidden_states=True).hidden_states[-2][0]
    expected = hidden[len(hidden) - towers.SIDE**2 :]
    assert np.allclose(found[0], expected.numpy(), atol=2e-3)


def test_pooling_averages_the_patches_that_a_place_covers():
    vectors = torch.arange(16, dtype=torch.float32).reshape(1, 16, 1)
    assert tower._pooled(vectors, None, 2)[0, :, 0].tolist() == [2.5, 4.5, 10.5, 12.5]
    oblong = torch.tensor([[[1.0], [2.0], [3.0], [4.0], [99.0]]])
    assert tower._pooled(oblong, [[1, 4]], 2)[0, :, 0].tolist() == [1.5, 3.5, 1.5, 3.5]


def _png(image: Image.Image) -> bytes:
    import io

    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def test_each_image_is_made_once_and_mapped_ever_after(tmp_path):
    pictures = [towers.picture(seed) for seed in (0, 1, 0, 2)]
    asked: list[int] = []

    def make(given):
        asked.append(len(given))
        return images.pixels(Patches(height=4, width=4, patch=2))(given)

    keys, numbers = images.distinct(pictures)
    assert numbers.tolist() == [0, 1, 0, 2]
    told = []
    first = images.arrays(keys, make, lambda: pictures, tmp_path, lambda *heard: told.append(heard))
    assert asked == [3] and told == [(3, 3)]
    again = images.arrays(keys, make, lambda: pytest.fail("nothing is missing"), tmp_path)
    assert asked == [3] and np.array_equal(again[numbers], first[numbers])
    assert np.array_equal(again[np.array([2])], images.pixels(Patches(height=4, width=4, patch=2))([pictures[3]]))
    more, order = images.distinct([towers.picture(9), *pictures])
    grown = images.arrays(more, make, lambda: [towers.picture(9), *pictures], tmp_path)
    assert asked == [3, 1] and np.array_equal(grown[order[1:]], first[numbers])
    assert not grown.chunks[0].flags.writeable


def test_images_in_files_are_read_once_each(tmp_path):
    (tmp_path / "a.jpg").write_bytes(towers.picture(0))
    keys, numbers = images.distinct([str(tmp_path / "a.jpg"), towers.picture(0), str(tmp_path / "a.jpg")])
    assert len(keys) == 1 and numbers.tolist() == [0, 0, 0]
    made = images.arrays(
        keys, images.pixels(Patches(height=4, width=4, patch=2)), lambda: [str(tmp_path / "a.jpg")], None
    )
    assert made.shape == (1, 3, 4, 4)


@pytest.fixture(scope="module")
def encoder(folders):
    return resolve_encoder(replace(tiny.ENCODER, patches=tower_of(folders["siglip"], hidden=8)))


def test_a_path_of_stages_reads_a_tower_as_it_reads_patches(encoder, tmp_path):
    def stage(made):
        return replace(made, encoder=encoder)

    aligned = stage(tiny.training(tiny.CAPTION, kind=StageKind.ALIGN_IMAGES, steps=2, alignment=Alignment.CONTRASTIVE))
    masked = stage(tiny.training(tiny.CAPTION, kind=StageKind.ALIGN_IMAGES, steps=2, parent=aligned.digest))
    trained = stage(tiny.training(tiny.VISUAL, steps=3, parent=masked.digest, frozen=(Part.VISION,)))
    scored = stage(tiny.evaluation(tiny.VISUAL, trained.digest))
    parent = None
    for number, one in enumerate((aligned, masked, trained, scored)):
        outcome = run_stage(one, parent=parent, output=tmp_path / str(number), cache=tmp_path / "cache")
        parent = tmp_path / str(number)
    assert [(score.language, score.count) for score in outcome.scores] == [("en", 24), ("de", 24)]
    before, after = tiny.weights(tmp_path / "1"), tiny.weights(tmp_path / "2")
    vision = [name for name in before if "vision." in name]
    assert vision and all(torch.equal(before[name], after[name]) for name in vision)


def test_the_tower_runs_once_for_all_sweeps_of_a_storage(encoder, tmp_path, monkeypatch):
    laid_out._kept.clear()
    first = rows(tiny.VISUAL, "dev", None, encoder, cache=tmp_path)
    laid_out._kept.clear()
    monkeypatch.setattr(tower, "_load", lambda _: pytest.fail("the vectors were there"))
    again = rows(tiny.VISUAL, "dev", None, encoder, cache=tmp_path)
    numbers = np.arange(len(first.pixels))
    assert np.array_equal(first.pixels[numbers], again.pixels[numbers]) and first.pixels.shape[1:] == (4, towers.WIDTH)


def test_another_tower_or_grid_is_another_stage(encoder, folders):
    made = replace(tiny.training(tiny.VISUAL), encoder=encoder)
    moved = replace(encoder.patches, model=replace(encoder.patches.model, path="elsewhere"))
    assert replace(made, encoder=replace(encoder, patches=moved)).digest == made.digest
    clip = resolve_encoder(replace(encoder, patches=tower_of(folders["clip"], hidden=8)))
    others = [clip, *(replace(encoder, patches=replace(encoder.patches, **c)) for c in ({"grid": 3}, {"hidden": 0}))]
    assert len({made.digest, *(replace(made, encoder=one).digest for one in others)}) == 4


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"grid": 0}, "a tower's grid must be a whole number of at least 1, got 0"),
        ({"layers_from_end": 0}, "a tower's layers_from_end must be a whole number of at least 1, got 0"),
        ({"hidden": -1}, "a tower's hidden must be a whole number of at least 0, got -1"),
        ({"model": "google/siglip2-base-patch16-224"}, "must be LocalEncoder(...) or HubEncoder(...), got 'google/"),
    ],
)
def test_a_tower_that_cannot_be_is_refused_with_the_encoder(folders, more, words):
    with pytest.raises(Invalid) as refused:
        replace(tiny.ENCODER, patches=replace(tower_of(folders["clip"]), **more))
    assert words in str(refused.value)


def test_a_directory_that_holds_no_tower_is_refused_by_what_it_lacks(folders, tmp_path):
    with pytest.raises(Invalid, match="path must be a directory"):
        resolve_encoder(replace(tiny.ENCODER, patches=tower_of(tmp_path / "none")))
    deep = tower.features(tower_of(folders["siglip"], layers_from_end=3))
    with pytest.raises(Invalid, match="layers_from_end must be at most its 2 layers, got 3"):
        deep([towers.picture(0)])
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(Invalid, match=r"its model_type must be one of siglip, .*, got 'bert'"):
        tower.width(tower_of(tmp_path))
    with pytest.raises(Invalid, match="every image must be a whole PNG or JPEG"):
        tower.features(tower_of(folders["siglip"]))([b"no image"])


def test_a_sweeps_features_are_made_beforehand_into_its_storage_and_only_once(folders, tmp_path, monkeypatch, capsys):
    from search_spaces import transfer_grid
    from sweep import Search, Sweep
    from sweep.features import prepare
    from trainables.catalogue.lab import visual_nli

    sweep = Sweep(
        name="looks",
        target=visual_nli(train=70, dev=4, test=2),
        encoder=replace(tiny.ENCODER, patches=tower_of(folders["clip"])),
        cells=transfer_grid((), image_only=False, hypothesis_only=False),
        target_settings=tiny.settings(1),
        search=Search(trials=1),
    )
    laid_out._kept.clear()
    monkeypatch.setattr(laid_out, "_SHOWN_IMAGES", 70)
    count = prepare(sweep, storage=str(tmp_path))
    assert count == 70 + 4 + 2
    assert "images of tiny: 100%" in capsys.readouterr().err
    assert len(list((tmp_path / "cache" / "images").glob("*/*.arrow"))) == 3
    laid_out._kept.clear()
    monkeypatch.setattr(tower, "_load", lambda _: pytest.fail("they were all there"))
    assert prepare(sweep, storage=str(tmp_path)) == count


@pytest.mark.parametrize(("gpus", "device", "told"), [(1.0, "cpu", True), (1.0, "cuda", False), (0.0, "cpu", False)])
def test_a_machine_without_a_gpu_says_that_gangs_with_gpus_will_not_find_its_features(
    folders, tmp_path, monkeypatch, caplog, gpus, device, told
):
    from search_spaces import transfer_grid
    from sweep import Gangs, Search, Sweep
    from sweep.features import prepare
    from trainables.catalogue.lab import visual_nli

    sweep = Sweep(
        name="looks",
        target=visual_nli(train=2, dev=2, test=2),
        encoder=replace(tiny.ENCODER, patches=tower_of(folders["clip"])),
        cells=transfer_grid((), image_only=False, hypothesis_only=False),
        target_settings=tiny.settings(1),
        search=Search(trials=1),
        gangs=Gangs(gpus_per_worker=gpus),
    )
    monkeypatch.setattr(tower, "device", lambda: torch.device(device))
    monkeypatch.setattr(tower, "features", lambda _: lambda images: np.zeros((len(images), 49, 4), dtype=np.float16))
    laid_out._kept.clear()
    assert prepare(sweep, storage=str(tmp_path)) == 6
    assert ("must have a GPU for its vectors to be found" in caplog.text) == told


def test_a_sweeps_features_are_put_in_a_storage_that_is_no_folder_for_other_machines(folders, tmp_path, monkeypatch):
    from search_spaces import transfer_grid
    from sweep import Search, Sweep
    from sweep.features import prepare
    from trainables.catalogue.lab import visual_nli

    sweep = Sweep(
        name="looks",
        target=visual_nli(train=6, dev=4, test=2),
        encoder=replace(tiny.ENCODER, patches=tower_of(folders["clip"])),
        cells=transfer_grid((), image_only=False, hypothesis_only=False),
        target_settings=tiny.settings(1),
        search=Search(trials=1),
    )
    storage = f"fsspec+memory://{tmp_path.name}/sweeps"
    for machine in ("one", "two"):
        laid_out._kept.clear()
        monkeypatch.setattr("trainables.store.cache_of", lambda _, machine=machine: tmp_path / machine)
        assert prepare(sweep, storage=storage) == 6 + 4 + 2
        assert len(list((tmp_path / machine / "images").glob("*/*.arrow"))) == 3
        monkeypatch.setattr(tower, "_load", lambda _: pytest.fail("they were all in the store"))


def test_a_plan_knows_by_name_the_towers_that_are_loaded_here():
    assert set(tower._TOWERS) == set(TOWERS)


def test_weights_of_a_tower_that_are_damaged_are_told_as_such(tmp_path):
    weights = towers.save("siglip", tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(Invalid, match="it must hold safetensors weights and preprocessor_config"):
        tower.features(tower_of(tmp_path))([towers.picture(0)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_tower_whose_weights_have_other_names_is_never_looked_through_at_random(kind, tmp_path):
    weights = towers.save(kind, tmp_path) / "model.safetensors"
    own = load_file(weights)
    without = {name: value for name, value in own.items() if "head." not in name and "text_" not in name}
    save_file(without, weights, {"format": "pt"})  # nothing here reads those
    tower._load(tower_of(tmp_path))
    save_file({f"trunk.visual.{name}": value for name, value in own.items()}, weights, {"format": "pt"})
    with pytest.raises(Invalid, match=r"under AutoModel's names, got none for .* does not know: trunk\.visual\."):
        tower.features(tower_of(tmp_path))([towers.picture(0)])
    save_file(own, weights, {"format": "pt"})
    config = json.loads((tmp_path / "config.json").read_text())
    config.get("vision_config", config)["patch_size"] = 4
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(Invalid, match=r"patch_embedding\.weight.* must have the size that config\.json states"):
        tower.features(tower_of(tmp_path))([towers.picture(0)])
