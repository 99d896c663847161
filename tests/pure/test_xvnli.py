import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

from trainables.canonical import decode, encode
from trainables.catalogue import xtreme_m
from trainables.catalogue.development import with_oracle
from trainables.catalogue.task import NLI_LABELS, Task
from trainables.data import image_files
from trainables.data.fingerprint import resolve
from trainables.data.halves import is_oracle
from trainables.data.reading import inspect, read
from trainables.data.remarked import own_remarks, shared_images
from trainables.data.schema import IMAGE_TEXT
from trainables.faults import Invalid

REAL = Path(__file__).parents[2].parent / "shared" / "real" / "xvnli"
real = pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL}, real files of XVNLI, is not here")
CAPTION = "never shown"


def jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, format="JPEG")
    return buffer.getvalue()


def iglue_row(number: int, label: str, image: int) -> dict:
    return {
        "gold_label": label,
        "sentence1": CAPTION,
        "sentence2": f"claim {number}",
        "captionID": f"{image}.jpg#0",
        "pairID": f"{image}.jpg#0r{number}",
        "Flikr30kID": str(image),
    }


def write_jsonl(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def made(tmp_path) -> Task:
    """IGLUE's layout with two languages and images of its own; row 2 of the test has no gold label."""
    (tmp_path / "images").mkdir()
    for image in range(6):
        (tmp_path / "images" / f"{image}.jpg").write_bytes(jpeg(image))
    labels = ("entailment", "contradiction", "-", "neutral")
    for name, first in (("train", 0), ("dev", 4), ("test", 8)):
        rows = [iglue_row(first + n, label, (first + n) // 2) for n, label in enumerate(labels)]
        for language in ("en", "fr") if name == "test" else ("en",):
            write_jsonl(tmp_path / "annotations" / language / f"{name}.jsonl", rows)
    files = {
        name: xtreme_m.iglue(tmp_path / "annotations", name, tmp_path / "images") for name in ("train", "dev", "test")
    }
    return xtreme_m.xvnli(**files, languages=("en", "fr"))


def test_rows_name_their_images_and_captions_are_never_read(made):
    assert inspect(made) == []
    table = read(resolve(made), "test", None, None)
    assert table.schema == IMAGE_TEXT and table.num_rows == 8
    assert Path(table["image"][0].as_py()["path"]).read_bytes() == jpeg(4)
    assert CAPTION not in str(table.to_pylist())


def test_rows_without_a_gold_label_train_nothing_and_are_kept_where_they_are_scored(made):
    assert read(made, "train", None, None)["label"].to_pylist() == [0, 2, 1]
    assert read(made, "dev", None, None).num_rows == 3
    assert read(made, "test", ("fr",), None)["label"].to_pylist() == [0, 2, None, 1]


def test_a_text_proxy_has_another_name_a_remark_and_no_image(made):
    source = made.source
    proxy = xtreme_m.xvnli_text_proxy(train=source.train, dev=source.dev, test=source.test, languages=("en", "fr"))
    assert proxy.name == "xvnli_text_proxy" and "no image was read" in proxy.remark
    assert read(proxy, "train", None, None)["image"].null_count == 3


def test_training_files_in_another_language_make_a_source_whose_development_stays_english(made, tmp_path):
    rows = [iglue_row(n, "neutral", n) for n in range(2)]
    write_jsonl(tmp_path / "annotations" / "de" / "train.jsonl", [{**row, "sentence2": "Satz"} for row in rows])
    files = {name: made.source.files(name) for name in ("train", "dev", "test")}
    german = xtreme_m.xvnli(**files, languages=("en", "fr"), language="de")
    assert (german.name, german.head, inspect(german)) == ("xvnli_de", made.head, [])
    table = read(german, "train", None, None)
    assert [set(table[name].to_pylist()) for name in ("language", "hypothesis")] == [{"de"}, {"Satz"}]
    assert german.split("dev") == made.split("dev") and german.split("test") == made.split("test")
    proxy = xtreme_m.xvnli_text_proxy(**files, language="de")
    assert proxy.name == "xvnli_text_proxy_de" and proxy.split("train").languages == ("de",)


def test_halves_for_an_oracle_part_the_test_by_item_and_alike_in_every_language(made):
    halved = with_oracle(made)
    oracle, report = read(halved, "oracle", None, None), read(halved, "test", None, None)
    assert oracle.num_rows + report.num_rows == 8 and oracle.num_rows and report.num_rows
    assert all(is_oracle(item) for item in oracle["id"].to_pylist())
    assert not {*oracle["id"].to_pylist()} & {*report["id"].to_pylist()}
    assert read(made, "test", None, None).num_rows == 8
    with pytest.raises(Invalid, match="each once, got 'oracle' 2 times"):
        with_oracle(halved)


def test_about_half_of_many_items_belong_to_the_oracle():
    assert 480 < sum(is_oracle(f"item-{number}") for number in range(1000)) < 520


def test_the_source_is_the_same_after_a_journey_as_json(made):
    assert decode(Task, encode(resolve(made))) == resolve(made)


def test_a_missing_image_a_missing_language_and_a_renamed_column_are_told(made, tmp_path):
    (tmp_path / "images" / "5.jpg").unlink()
    assert inspect(made) == [
        f"split 'test' must have an image file for every row, got 1 of 2 missing ({tmp_path}/images/5.jpg); "
        "complete the folder of Flickr30k"
    ]
    rows = [{("sentence_2" if k == "sentence2" else k): v for k, v in iglue_row(0, "neutral", 0).items()}]
    write_jsonl(tmp_path / "annotations" / "en" / "train.jsonl", rows)
    (fault,) = [fault for fault in inspect(made) if "columns" in fault]
    assert "must have the columns gold_label, sentence2, pairID, Flikr30kID" in fault and "sentence_2" in fault
    more = replace(made, splits=(*made.splits[:2], replace(made.splits[2], languages=("en", "ru"))))
    with pytest.raises(
        Invalid, match=r"files of 'test' in ru \(.*/\{language\}/test.jsonl\) must exist, got none; git clone"
    ):
        resolve(more)


def test_a_pair_that_is_asked_twice_is_two_items(made, tmp_path):
    for language in ("en", "fr"):
        write_jsonl(tmp_path / "annotations" / language / "test.jsonl", [iglue_row(8, "neutral", 4)] * 2)
    assert inspect(made) == []
    assert read(made, "test", ("fr",), None)["id"].to_pylist() == ["4.jpg#0r8", "4.jpg#0r8~2"]


def test_a_label_outside_the_set_and_an_item_of_one_language_only_are_told(made, tmp_path):
    write_jsonl(tmp_path / "annotations" / "en" / "dev.jsonl", [iglue_row(4, "yes", 2)])
    write_jsonl(
        tmp_path / "annotations" / "fr" / "test.jsonl", [iglue_row(8, "neutral", 4), iglue_row(99, "neutral", 4)]
    )
    faults = "\n".join(inspect(made))
    assert "split 'dev': label must be 0 or 'entailment'" in faults and "got 'yes' in 1 rows" in faults
    assert "the ids of 'fr' must be those of 'en'" in faults


def test_an_item_with_another_label_or_image_in_one_language_is_told(made, tmp_path):
    rows = [iglue_row(8 + n, label, (8 + n) // 2) for n, label in enumerate(("neutral", "contradiction", "-"))]
    write_jsonl(
        tmp_path / "annotations" / "fr" / "test.jsonl", [*rows, {**iglue_row(11, "neutral", 4), "pairID": "5.jpg#0r11"}]
    )
    faults = inspect(made)
    assert [fault.partition(" (")[0] for fault in faults] == [
        "split 'test': an item must have the same label in every language, got 1 of 4 in 'fr' that differ from 'en'",
        "split 'test': an item must have the same image in every language, got 1 of 4 in 'fr' that differ from 'en'",
    ]


def test_an_image_in_two_splits_is_a_remark_and_no_fault(made, tmp_path):
    assert tuple(shared_images(made)) == ()
    train = [iglue_row(n, "neutral", image) for n, image in enumerate((0, 4, 5, 3))]
    write_jsonl(tmp_path / "annotations" / "en" / "train.jsonl", train)
    assert inspect(made) == []
    assert tuple(shared_images(made)) == (
        "1 of the 2 images of 'dev' are in 'train' too (3)",
        "2 of the 2 images of 'test' are in 'train' too (4)",
    )
    source = made.source
    proxy = xtreme_m.xvnli_text_proxy(train=source.train, dev=source.dev, test=source.test, languages=("en", "fr"))
    assert tuple(shared_images(proxy)) == ()


def test_images_of_the_hubs_files_are_compared_by_name(tmp_path):
    assert tuple(shared_images(hub(tmp_path))) == ("2 of the 4 images of 'test' are in 'train' too (0)",)


GOOD = [iglue_row(0, "neutral", 0), iglue_row(1, "entailment", 0)]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([GOOD[0], {**GOOD[1], "sentence2": None}], "column 'sentence2' must have no empty value, got 1 (first row 1)"),
        (
            [GOOD[0], {"gold_label": "neutral", "sentence2": "a", "Flikr30kID": "0"}],
            "column 'pairID' must have no empty value, got 1",
        ),
        ([GOOD[0], {**GOOD[1], "Flikr30kID": None}], "column 'Flikr30kID' must have no empty value, got 1"),
        (
            [{**GOOD[0], "gold_label": None}, GOOD[1]],
            "column 'gold_label' must have no empty value, got 1 (first row 0)",
        ),
        ([GOOD[0], {**GOOD[1], "gold_label": 1}], "changed from string to number in row 1); fetch it again"),
        ([], "must have rows, got none"),
        ([iglue_row(0, "-", 0)], "split 'train' must have rows with a gold label, got none"),
    ],
)
def test_rows_that_cannot_be_used_are_told_before_anything_starts(made, tmp_path, lines, told):
    write_jsonl(tmp_path / "annotations" / "en" / "train.jsonl", lines)
    (fault,) = inspect(made)
    assert told in fault
    with pytest.raises(Invalid):
        read(resolve(made), "train", None, None)


def test_a_file_that_ends_in_the_middle_is_told(made, tmp_path):
    path = tmp_path / "annotations" / "fr" / "test.jsonl"
    path.write_text(path.read_text()[:-20])
    (fault,) = inspect(made)
    assert "fr/test.jsonl must be a iglue_jsonl file, got one that cannot be read" in fault


def test_an_image_that_does_not_decode_is_told_by_its_file(made, tmp_path):
    from trainables.catalogue.encoder import Patches
    from trainables.data import images

    broken = tmp_path / "images" / "1.jpg"
    broken.write_bytes(broken.read_bytes()[:100])
    listed = [row["path"] for row in read(made, "train", None, None)["image"].to_pylist()]
    keys, _ = images.distinct(listed)
    with pytest.raises(Invalid, match=r"must be a whole PNG or JPEG, got one that is not .* in .*images/1\.jpg"):
        images.arrays(keys, images.pixels(Patches(height=4, width=4, patch=2)), lambda: listed, None)


def test_images_without_a_folder_are_refused_by_the_name_of_the_way_out(made, tmp_path):
    bare = xtreme_m.iglue(tmp_path / "annotations", "train")
    task = replace(made, source=replace(made.source, train=bare))
    assert "leave all images out for a text proxy" in inspect(task)[0]
    gone = replace(made, source=replace(made.source, train=replace(bare, images=str(tmp_path / "none"))))
    with pytest.raises(Invalid, match="must lie in a folder"):
        resolve(gone)


def hub(tmp_path: Path) -> Task:
    """The three hub releases in their own columns."""
    data = tmp_path / "xvnli" / "data"
    data.mkdir(parents=True)
    image = [{"bytes": jpeg(n // 2), "path": f"{n}.jpg"} for n in range(4)]
    for language in ("en", "ar"):
        columns = {
            "caption": [CAPTION] * 4,
            "hypothesis": [f"{language} {n}" for n in range(4)],
            "label": ["neutral", "entailment", "-", "contradiction"],
            "caption_id": ["c"] * 4,
            "pair_id": [f"p{n}" for n in range(4)],
            "flikr30k_id": [str(n) for n in range(4)],
            "image": image,
        }
        pq.write_table(pa.table(columns), data / f"{language}-00000-of-00001.parquet")
    train = tmp_path / "train" / "data"
    train.mkdir(parents=True)
    columns = {
        "image": image,
        "filename": ["0.jpg", "0.jpg", "1.jpg", "1.jpg"],
        "premise": [CAPTION] * 4,
        "hypothesis": [f"h{n}" for n in range(4)],
        "label": [2, 0, 1, -1],
    }
    pq.write_table(pa.table(columns), train / "train-00000-of-00001.parquet")
    dev = tmp_path / "dev" / "data"
    dev.mkdir(parents=True)
    columns = {"image": image, "hypothesis": ["a", "b", "c", "d"], "label": ["neutral"] * 4}
    pq.write_table(pa.table(columns), dev / "validation-00000-of-00001.parquet")
    return xtreme_m.xvnli(
        train=xtreme_m.snli_ve_hub(tmp_path / "train", "train"),
        dev=xtreme_m.e_snli_ve_hub(tmp_path / "dev", "validation"),
        test=xtreme_m.xvnli_hub(tmp_path / "xvnli"),
        languages=("en", "ar"),
    )


def test_the_hubs_parquet_files_are_read_and_each_image_is_kept_once(tmp_path):
    task = resolve(hub(tmp_path))
    assert inspect(task) == []
    train = read(task, "train", None, tmp_path / "cache")
    assert train["label"].to_pylist() == [2, 0, 1] and train["id"].to_pylist()[0] == "train-00000-of-00001-0"
    assert len(list((tmp_path / "cache" / "images").iterdir())) == 2
    assert Path(train["image"][0].as_py()["path"]).read_bytes() == jpeg(0)
    assert read(task, "dev", None, tmp_path / "cache").num_rows == 4
    test = read(task, "test", ("ar",), None)
    assert test["label"].to_pylist() == [1, 0, None, 2] and test["image"][3].as_py()["bytes"] == jpeg(1)
    assert test["hypothesis"].to_pylist() == [f"ar {n}" for n in range(4)]


def test_an_image_that_a_power_cut_left_empty_is_kept_again(tmp_path):
    task, cache = resolve(hub(tmp_path)), tmp_path / "cache"
    image = Path(read(task, "train", None, cache)["image"][0].as_py()["path"])
    image.write_bytes(b"")
    for kept in cache.glob("*.arrow"):
        kept.write_bytes(b"")
    read(task, "train", None, cache)
    assert image.read_bytes() == jpeg(0)


def test_an_item_of_the_hubs_files_has_one_label_in_every_language(tmp_path):
    task = hub(tmp_path)
    place = tmp_path / "xvnli" / "data" / "ar-00000-of-00001.parquet"
    table = pq.read_table(place)
    labels = pa.array(["entailment", "neutral", "-", "contradiction"])
    pq.write_table(table.set_column(table.schema.get_field_index("label"), "label", labels), place)
    (fault,) = inspect(task)
    assert "must have the same label in every language, got 2 of 4 in 'ar' that differ from 'en' (p0, p1)" in fault


def snli_ve_row(number: int, label: str, image: int) -> dict:
    """A line of SNLI-VE's own files: SNLI's fields, sorted, and the image's name. No row lacks its gold label there."""
    row = {
        "Flickr30K_ID": str(image),
        "annotator_labels": [label, "neutral", label, "neutral", label],
        "captionID": f"{image}.jpg#0",
        "gold_label": label,
        "pairID": f"{image}.jpg#0r{number}",
        "sentence1": CAPTION,
        "sentence2": f"claim {number}",
    }
    parsed = {f"{name}_{kind}": f"(ROOT {row[name]})" for name in row if "sent" in name for kind in ("parse", "binary")}
    return dict(sorted((row | parsed).items()))


@pytest.fixture
def snli_ve(made, tmp_path) -> Task:
    """Training and development files of SNLI-VE beside IGLUE's test."""
    for name, first in (("train", 0), ("dev", 4)):
        rows = [snli_ve_row(first + n, label, (first + n) // 2) for n, label in enumerate(NLI_LABELS)]
        write_jsonl(tmp_path / f"snli_ve_{name}.jsonl", rows)
    files = {
        name: xtreme_m.snli_ve(tmp_path / f"snli_ve_{name}.jsonl", tmp_path / "images") for name in ("train", "dev")
    }
    return xtreme_m.xvnli(**files, test=made.source.test, languages=("en", "fr"))


def test_the_files_of_snli_ve_are_read_as_they_are(snli_ve, tmp_path):
    task = resolve(snli_ve)
    assert inspect(task) == []
    train = read(task, "train", None, None)
    assert train.schema == IMAGE_TEXT
    assert train["label"].to_pylist() == [NLI_LABELS.index(label) for label in NLI_LABELS]
    assert train["id"].to_pylist() == ["0.jpg#0r0", "0.jpg#0r1", "1.jpg#0r2"]
    assert train["hypothesis"].to_pylist() == ["claim 0", "claim 1", "claim 2"]
    assert [row["path"] for row in train["image"].to_pylist()] == [f"{tmp_path}/images/{n}.jpg" for n in (0, 0, 1)]
    assert set(train["language"].to_pylist()) == {"en"} and CAPTION not in str(train.to_pylist())
    assert read(task, "dev", None, None)["id"].to_pylist() == ["2.jpg#0r4", "2.jpg#0r5", "3.jpg#0r6"]
    assert read(task, "test", ("fr",), None).num_rows == 4


def test_faults_of_the_files_of_snli_ve_are_told(snli_ve, tmp_path):
    place = tmp_path / "snli_ve_train.jsonl"
    write_jsonl(place, [iglue_row(0, "neutral", 0)])
    (fault,) = inspect(snli_ve)
    assert "must have the columns gold_label, sentence2, pairID, Flickr30K_ID of snli_ve_jsonl" in fault
    assert "without Flickr30K_ID" in fault and "Flikr30kID" in fault
    write_jsonl(place, [snli_ve_row(0, "maybe", 0), snli_ve_row(1, "neutral", 0)])
    assert any("split 'train': label must be 0 or 'entailment'" in fault for fault in inspect(snli_ve))
    write_jsonl(place, [snli_ve_row(0, "neutral", 9), snli_ve_row(4, "neutral", 2)])
    faults = "\n".join(inspect(snli_ve))
    assert (
        f"split 'train' must have an image file for every row, got 1 of 2 missing ({tmp_path}/images/9.jpg)" in faults
    )
    assert "splits 'train' and 'dev' must share no id, got 1 in both (2.jpg#0r4)" in faults
    place.unlink()
    with pytest.raises(
        Invalid, match=r"files of 'train' in en \(.*snli_ve_train.jsonl\) must exist, got none; they are made as"
    ):
        resolve(snli_ve)


def test_a_release_with_other_columns_is_refused_naming_both(tmp_path):
    task = hub(tmp_path)
    place = tmp_path / "xvnli" / "data" / "ar-00000-of-00001.parquet"
    pq.write_table(pq.read_table(place).rename_columns({"pair_id": "pairID"}), place)
    (fault,) = inspect(task)
    assert "must have the columns label, hypothesis, pair_id, flikr30k_id, image" in fault
    assert "without pair_id" in fault and "pairID" in fault


TRAIN = "train/data/train-00000-of-00001.parquet"


def spoil(place: Path, column: str, values: pa.Array, **options) -> None:
    """Another column in a file, in the place of the one of that name."""
    table = pq.read_table(place)
    pq.write_table(table.set_column(table.schema.get_field_index(column), column, values), place, **options)


@pytest.mark.parametrize(
    ("name", "column", "values", "told"),
    [
        (TRAIN, "label", [0.5, 1.0, 2.0, 0.0], "column 'label' of snli_ve_parquet must hold strings or integers, got"),
        (
            TRAIN,
            "label",
            [True, False] * 2,
            "column 'label' of snli_ve_parquet must hold strings or integers, got bool",
        ),
        (TRAIN, "label", [2, 0, 7, -1], "split 'train': label must be 0 or 'entailment', 1 or 'neutral', 2 or"),
        (TRAIN, "label", [-1] * 4, "split 'train' must have rows with a gold label, got none"),
        (TRAIN, "hypothesis", [1, 2, 3, 4], "column 'hypothesis' of snli_ve_parquet must hold strings, got int64"),
        (TRAIN, "image", ["1.jpg"] * 4, "must hold struct<bytes: binary, path: string> or binary, got string"),
        (TRAIN, "image", [{"path": "1.jpg"}] * 4, "got struct<path: string>; is it of another format"),
        (TRAIN, "image", [{"bytes": [1, 2]}] * 4, "got struct<bytes: list<element: int64>>; is it of another format"),
        (
            TRAIN,
            "image",
            [b"no image"] * 4,
            "got one that is not (of no format that is known) in row 0; fetch it again",
        ),
        (TRAIN, "image", [jpeg(0), jpeg(1)[:99]] * 2, "got one that is not (cut short or damaged) in row 1; fetch"),
        ("xvnli/data/ar-00000-of-00001.parquet", "flikr30k_id", [0.5] * 4, "'flikr30k_id' of xvnli_parquet must hold"),
        ("dev/data/validation-00000-of-00001.parquet", "label", ["no"] * 4, "got 'no' in 4 rows (first row 0, id"),
    ],
)
def test_what_the_hubs_files_hold_is_looked_at_before_anything_starts(tmp_path, name, column, values, told):
    task = hub(tmp_path)
    spoil(tmp_path / name, column, pa.array(values))
    (fault,) = inspect(task)
    assert told in fault


IMAGES = {number: {"bytes": jpeg(number), "path": f"{number}.jpg"} for number in range(4)}


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("missing", [None, {"bytes": None, "path": "2.jpg"}])
def test_a_row_of_the_hubs_files_without_the_bytes_of_its_image_is_told(tmp_path, missing, statistics):
    task = hub(tmp_path)
    images = pa.array([*list(IMAGES.values())[:3], missing], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    spoil(tmp_path / TRAIN, "image", images, row_group_size=3, write_statistics=statistics)
    told = "column 'image' must hold the bytes of every image, got 1 rows without (first row 3); store the bytes"
    (fault,) = inspect(task)
    assert told in fault
    for cache in (None, tmp_path / "cache"):
        with pytest.raises(Invalid) as refused:
            read(task, "train", None, cache)
        assert told in refused.value.faults[0]


def test_images_as_bare_bytes_numbers_as_names_of_images_and_a_text_proxy_without_any_are_read(tmp_path):
    task = hub(tmp_path)
    spoil(tmp_path / TRAIN, "image", pa.array([jpeg(n) for n in range(4)]))
    spoil(tmp_path / TRAIN, "filename", pa.array([1, 2, 3, 4]))
    assert inspect(task) == [] and read(task, "train", None, None)["image"][0].as_py()["bytes"] == jpeg(0)
    assert tuple(shared_images(task)) == ("3 of the 4 images of 'test' are in 'train' too (1)",)
    spoil(tmp_path / TRAIN, "image", pa.array(["1.jpg"] * 4))
    files = {split: task.source.files(split) for split in ("train", "dev", "test")}
    assert inspect(xtreme_m.xvnli_text_proxy(**files, languages=("en", "ar"))) == []


def test_files_of_images_that_are_none_are_named_before_anything_starts(made, tmp_path):
    whole, png = jpeg(3), io.BytesIO()
    Image.open(io.BytesIO(whole)).save(png, format="PNG")
    (tmp_path / "images" / "2.jpg").write_bytes(whole + b"trailing bytes")  # as some cameras write them
    (tmp_path / "images" / "3.jpg").write_bytes(png.getvalue())
    assert inspect(made) == []
    (tmp_path / "images" / "0.jpg").write_bytes(whole[:-2])
    (tmp_path / "images" / "1.jpg").write_bytes(b"")
    (tmp_path / "images" / "5.jpg").write_bytes(png.getvalue()[:50])
    assert inspect(made) == [
        "split 'train': every image must be a whole PNG or JPEG, got one that is not (cut short or damaged): 2 of 2 "
        f"files ({tmp_path}/images/0.jpg, {tmp_path}/images/1.jpg); put whole ones there",
        "split 'test': every image must be a whole PNG or JPEG, got one that is not (cut short or damaged): 1 of 2 "
        f"files ({tmp_path}/images/5.jpg); put whole ones there",
    ]


def test_a_webp_that_is_as_long_as_it_says_is_not_decoded(tmp_path, monkeypatch):
    whole = io.BytesIO()
    Image.open(io.BytesIO(jpeg(3))).save(whole, format="WEBP")
    data = whole.getvalue()
    cut, longer = tmp_path / "cut.jpg", tmp_path / "longer.jpg"
    (tmp_path / "whole.jpg").write_bytes(data)
    cut.write_bytes(data[:-4])
    longer.write_bytes(data + b"trailing bytes")
    assert list(image_files.damaged(sorted(tmp_path.iterdir()))) == [cut]
    decoded = []
    monkeypatch.setattr(image_files, "opened", decoded.append)
    image_files.damaged(sorted(tmp_path.iterdir()))
    assert decoded == [cut.read_bytes(), longer.read_bytes()]


def test_an_empty_hypothesis_is_told(made, tmp_path):
    rows = [{**iglue_row(0, "neutral", 0), "sentence2": ""}, iglue_row(1, "entailment", 0)]
    write_jsonl(tmp_path / "annotations" / "en" / "train.jsonl", rows)
    assert inspect(made) == []
    assert own_remarks(made)[-1] == "1 of 2 texts in 'hypothesis' of train are empty"
    task = hub(tmp_path)
    spoil(tmp_path / "xvnli/data/ar-00000-of-00001.parquet", "hypothesis", pa.array(["", " ", "a", "b"]))
    assert own_remarks(task)[-1] == "2 of 8 texts in 'hypothesis' of test are empty"


def test_another_size_of_the_test_than_the_published_one_is_told(made, tmp_path):
    assert own_remarks(made) == ("the test is not the published one: 4 rows in each of en fr, published 1,164",)
    place = tmp_path / "annotations" / "fr" / "test.jsonl"
    rows = [json.loads(line) for line in place.read_text().splitlines()]
    write_jsonl(place, [row for row in rows if row["gold_label"] != "-"])
    assert own_remarks(made) == (
        "the test is not the published one: 4 rows in 'en', 3 rows in 'fr', published 1,164",
        "the test has no row without a gold label in fr: accuracy_iglue is there the same as accuracy, and not IGLUE's",
    )
    full = replace(made, splits=tuple(replace(one, rows=0) for one in made.splits))
    assert len(own_remarks(full)) == 1  # where nobody states a size there is none to compare


def test_a_test_of_the_published_size_has_no_remark(made):
    four = tuple(replace(one, rows=4 if one.name == "test" else 0) for one in made.splits)
    assert own_remarks(replace(made, splits=four)) == own_remarks(with_oracle(replace(made, splits=four))) == ()


@real
def test_real_test_rows_are_parallel_and_count_as_the_paper_says():
    files = {
        "train": xtreme_m.iglue(REAL, "train_48"),
        "dev": xtreme_m.iglue(REAL, "train_48"),
        "test": xtreme_m.iglue(REAL, "test_sample"),
    }
    task = xtreme_m.xvnli_text_proxy(**files)
    table = read(resolve(task), "test", None, None)
    assert table.num_rows == 5 * 63
    ids = {code: table.filter(pc.equal(table["language"], code))["id"].to_pylist() for code in xtreme_m.XVNLI_LANGUAGES}
    assert all(ids[code] == ids["en"] for code in ids)
    english = table.filter(pc.equal(table["language"], "en"))["label"].to_pylist()
    assert [english.count(NLI_LABELS.index(n)) for n in ("contradiction", "entailment", "neutral")] == [21, 21, 17]
    assert english.count(None) == 4
    train = read(task, "train", None, None)["label"].to_pylist()
    assert [train.count(NLI_LABELS.index(n)) for n in ("entailment", "contradiction", "neutral")] == [56, 54, 53]
