"""Claims about data that are not on this machine: named with the way to get them, left out, and shown as absent."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from search_spaces import Cell
from search_spaces.variants import from_source
from sweep import cli, record_definition, resolve
from sweep.absence import find
from sweep.cli import main
from sweep.definition import Search, Sweep
from sweep.outcomes import Answers
from sweep.per_language import per_language
from sweep.plan import plan
from sweep.plan_text import absent_text, remarks_text
from sweep.resolve import looked_up, resolved, with_rows_read
from sweep.standing import Standing
from sweep.suite import Suite
from tests.pure import published_files as files
from tests.pure.small_sweep import ALONE, BASELINE, SETTINGS, small_sweep
from trainables.catalogue import lab
from trainables.catalogue.development import with_oracle
from trainables.catalogue.encoder import Encoder, HubEncoder, LocalEncoder, Patches, Tower
from trainables.catalogue.intermediate import CCG, MNLI, QQP
from trainables.catalogue.translated import translated
from trainables.catalogue.xtreme import NER, PANX_TAGS, PAWSX, TATOEBA, XNLI
from trainables.catalogue.xtreme_m import parquet_task, text_pair_task
from trainables.data import places
from trainables.faults import Invalid
from trainables.selectors import Selector
from trainables.settings import LoRA

WITH_QQP = Cell(name="qqp", intermediates=(QQP,))
WAY = "hf download nyu-mll/glue --repo-type dataset --revision"


@pytest.fixture(autouse=True)
def mirror(tmp_path, monkeypatch):
    """A mirror folder and a hub cache with nothing in them."""
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv(places.MIRROR, str(tmp_path / "mirror"))
    monkeypatch.setattr(places, "_snapshot", lambda *_: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("trainables.data.hub._copy", lambda *_: None)
    return tmp_path / "mirror"


def partly() -> Sweep:
    return small_sweep(cells=(BASELINE, ALONE, WITH_QQP))


def qqp_arrives(mirror) -> None:
    folder = mirror / "nyu-mll/glue/qqp"
    folder.mkdir(parents=True)
    table = pa.table({"question1": ["a"], "question2": ["b"], "label": [1], "idx": [0]})
    for name in ("train", "validation"):
        pq.write_table(table, folder / f"{name}-00000-of-00001.parquet")


def test_only_the_cells_that_need_an_absent_task_are_left_out():
    found = find(partly(), fetch=False)
    assert set(found.absent) == {"qqp"} and WAY in found.absent["qqp"]
    assert set(found.absent_cells) == {"qqp"} and found.absent_cells["qqp"].startswith("qqp is absent: no files of qqp")
    assert [cell.name for cell in found.present.cells] == ["none", "nli"]
    assert not found.unable


def test_a_plan_counts_absent_tasks_by_the_sizes_of_the_catalogue_and_lists_them():
    found = looked_up(partly(), fetch=False)
    assert [cell.cell.name for cell in plan(found.sweep).cells] == ["none", "nli", "qqp"]
    assert absent_text(found.absent).startswith("absent   (counted above; a run leaves it out)\n  qqp: no files of qqp")
    with pytest.raises(Invalid, match="qqp is absent: no files of qqp in the mirror folder"):
        resolved(partly())


def test_without_the_target_or_what_it_is_learned_from_no_cell_can_run():
    sweep = small_sweep(target=XNLI, cells=(BASELINE,), pretrain=None, align_images=None)
    found = find(sweep, fetch=False)
    assert [reason.split(" is absent")[0] for reason in found.unable] == ["xnli", "mnli"]
    assert set(found.absent_cells) == {"none"}


def test_a_task_of_which_a_split_is_missing_is_absent_and_the_split_is_named(mirror):
    files.nli(mirror / "nyu-mll/glue/mnli/train-00000-of-00001.parquet")
    files.nli(mirror / "facebook/xnli/de/test-00000-of-00001.parquet")
    columns = {"id": ([1], pa.int32()), "label": ([1], pa.int64())}
    columns |= {name: (["a"], pa.string()) for name in ("sentence1", "sentence2")}
    files.parquet(mirror / "google-research-datasets/paws-x/en/train-00000-of-00001.parquet", columns)
    sweep = small_sweep(target=XNLI, cells=(BASELINE,), pretrain=None, align_images=None)
    found = find(sweep, fetch=False)
    assert set(found.absent) == {"mnli"} and found.absent["mnli"].startswith("no dev files of mnli in the")
    assert found.unable
    found = find(replace(sweep, target=PAWSX), fetch=False)
    assert found.absent["pawsx"].startswith("no dev or test files of pawsx")


def test_missing_test_languages_are_named_in_plan_and_tables(mirror, capsys):
    for split in ("train", "validation_matched"):
        files.nli(mirror / f"nyu-mll/glue/mnli/{split}-00000-of-00001.parquet")
    files.nli(mirror / "facebook/xnli/de/test-00000-of-00001.parquet")
    sweep = small_sweep(target=XNLI, cells=(BASELINE,), pretrain=None, align_images=None)
    found = looked_up(sweep, fetch=False)
    assert found.absent == {}
    told = "no test files in 14 of 15 languages (ar bg el en es fr hi ru sw th tr ur vi zh), see `sweep tasks xnli`"
    assert found.remarks["xnli"].startswith(told)
    assert f"xnli: {told}" in found.cell_remarks["none"] and told in remarks_text(found.remarks)
    assert main(["tasks", "xnli"]) == 0
    said = capsys.readouterr().out
    assert "test in ar bg el en es fr hi ru sw th tr ur vi zh" in said and "in part" in said


def on_xnli(mirror, **labels: tuple[int, ...]) -> Sweep:
    """A sweep with XNLI as its target, MNLI to learn it from, and test files in some languages."""
    for split in ("train", "validation_matched"):
        files.nli(mirror / f"nyu-mll/glue/mnli/{split}-00000-of-00001.parquet")
    for language, numbers in labels.items():
        files.nli(mirror / f"facebook/xnli/{language}/test-00000-of-00001.parquet", labels=numbers)
    return small_sweep(target=XNLI, cells=(BASELINE,), pretrain=None, align_images=None)


def test_a_test_language_that_cannot_be_used_is_told_before_the_first_gang_and_the_others_stay(mirror, tmp_path):
    found = looked_up(on_xnli(mirror, de=(0, 1), sw=(3, 0)), fetch=False)
    assert "cannot be used" not in found.remarks["xnli"]  # a plan reads no rows
    read = with_rows_read(found, tmp_path / "cache")
    told = "no test rows in 'sw', whose files cannot be used: facebook/xnli sw test"
    assert told in read.remarks["xnli"] and "got '3' in 1 rows (first row 0)" in read.remarks["xnli"]
    assert told in read.cell_remarks["none"] and read.absent == {} == read.absent_cells
    assert read.sweep == found.sweep  # nor does anything else have another digest for it


def test_a_language_with_other_columns_is_told_when_planned_and_the_others_stay(mirror):
    sweep = on_xnli(mirror, de=(0, 1))
    columns = {"premiss": (["a"], pa.string()), "hypothesis": (["b"], pa.string()), "label": ([0], pa.int64())}
    files.parquet(mirror / "facebook/xnli/sw/test-00000-of-00001.parquet", columns)
    told = looked_up(sweep, fetch=False).remarks["xnli"]
    assert "no test rows in 'sw', whose files cannot be used" in told and "must have a column 'premise'" in told
    files.parquet(mirror / "facebook/xnli/de/test-00000-of-00001.parquet", columns)
    with pytest.raises(Invalid, match="must have a column 'premise'"):
        looked_up(sweep, fetch=False)


def test_training_rows_that_cannot_be_used_refuse_the_sweep_before_the_first_gang(mirror, tmp_path):
    sweep = on_xnli(mirror, de=(0, 1))
    for split, label in (("train", 7), ("validation_matched", 8)):
        files.nli(mirror / f"nyu-mll/glue/mnli/{split}-00000-of-00001.parquet", labels=(0, label))
    found = looked_up(sweep, fetch=False)
    with pytest.raises(Invalid) as refused:
        with_rows_read(found, tmp_path / "cache")
    assert [fault.split(" (train-")[0].split(" (vali")[0] for fault in refused.value.faults] == [
        "nyu-mll/glue mnli train",
        "nyu-mll/glue mnli validation_matched",
    ]
    assert with_rows_read(find(small_sweep(), fetch=False), None).remarks == {}


def test_a_suite_says_before_its_first_sweep_which_others_cannot_run(mirror, tmp_path, monkeypatch, capsys):
    second = replace(on_xnli(mirror, sw=(3,)), name="two-second")
    suite = Suite(name="two", sweeps=(small_sweep(name="two-first"), second))
    begun = []

    def act(options):
        begun.append((options.sweep, capsys.readouterr().err))
        return 0

    monkeypatch.setattr(cli, "_run", act)
    assert cli._each(suite, Namespace(act=act, sweep="two", storage=str(tmp_path))) == 0
    assert [name for name, _ in begun] == ["two-first", "two-second"]
    assert "sweep: two-second cannot run as it is: the data of sweep 'two-second' cannot be used" in begun[0][1]
    assert "got '3' in 1 rows" in begun[0][1] and "two-first cannot" not in begun[0][1]


def test_a_treebank_that_cannot_be_read_is_absent_with_its_reason_and_the_plan_goes_on(mirror, capsys):
    for section in range(22):
        folder = mirror / "LDC2005T13" / "data" / "AUTO" / f"{section:02d}"
        folder.mkdir(parents=True)
        (folder / "wsj.auto").write_bytes(b"ID=x\n(<L NP N N B\xe9b NP>)\n")
    found = looked_up(small_sweep(cells=(BASELINE, ALONE, Cell(name="ccg", intermediates=(CCG,)))), fetch=False)
    assert "AUTO/02/wsj.auto: it must be text in UTF-8, got the byte 0xe9 in line 2" in found.absent["ccg"]
    assert set(found.absent_cells) == {"ccg"}
    assert main(["tasks", "ccg"]) == 0 and "here" in capsys.readouterr().out


def test_an_encoder_of_the_hub_is_looked_for_on_this_machine_alone_when_planning():
    encoder = Encoder(
        name="large", text=HubEncoder(repository="a/b"), patches=Patches(height=8, width=8, patch=4), maximum_tokens=32
    )
    found = find(small_sweep(encoder=encoder, pretrain=None), fetch=False)
    assert found.absent["large"].startswith("no copy of a/b on this machine; hf download a/b --revision main")
    assert found.unable


def test_layers_modules_and_patches_that_a_configuration_here_has_not_are_refused_when_planning(tmp_path):
    text, tower = tmp_path / "text", tmp_path / "tower"
    for folder, said in (
        (text, {"model_type": "distilbert", "n_layers": 2, "pad_token_id": 0}),
        (tower, {"model_type": "clip", "vision_config": {"image_size": 32, "patch_size": 8}}),
    ):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(said))
        (folder / "model.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
        for name in ("vocab.txt", "preprocessor_config.json"):
            (folder / name).write_text("{}")
    encoder = Encoder(
        name="here",
        text=LocalEncoder(path=str(text)),
        patches=Tower(model=LocalEncoder(path=str(tower)), grid=5),
        maximum_tokens=64,
    )
    settings = replace(SETTINGS, lora=LoRA(layers=(1, 2), target_modules=("q_lin", "query")))
    sweep = small_sweep(encoder=encoder, target_settings=settings, retrieval_layer=3)
    with pytest.raises(Invalid) as refused:
        find(sweep, fetch=False)
    assert refused.value.faults == (
        "retrieval_layer must be a layer of here, 0 to 2, got 3",
        "target_settings: lora.layers must be layers of here, counted from 0 to 1, got 2",
        "target_settings: lora.target_modules must be linear modules of here's layers, got 'query'; known: k_lin, "
        "lin1, lin2, out_lin, q_lin, v_lin",
        "a tower's grid must be at most its 4 × 4 patches, got 5; lower it",
    )
    fits = replace(SETTINGS, lora=LoRA(layers=(1,), target_modules=("q_lin",)))
    encoder = replace(encoder, patches=replace(encoder.patches, grid=4))
    assert find(replace(sweep, encoder=encoder, target_settings=fits, retrieval_layer=2), fetch=False).absent == {}


def test_word_pairs_source_languages_and_translations_are_looked_for_too():
    sweep = small_sweep(
        target=XNLI, cells=(BASELINE, Cell(name="from_de", learned_from=translated(MNLI, "de"))), pretrain=None
    )
    assert {"xnli", "mnli", "mnli_de"} <= set(find(replace(sweep, align_images=None), fetch=False).absent)


def test_a_target_that_cannot_be_fetched_is_absent_also_where_what_it_is_learned_from_is_here(mirror, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for split in ("train", "validation_matched"):
        files.nli(mirror / f"nyu-mll/glue/mnli/{split}-00000-of-00001.parquet")
    teacher = replace(MNLI, source=replace(MNLI.source, download=True))
    target = replace(XNLI, source=replace(XNLI.source, download=True), learned_from=teacher)
    cells = (BASELINE, from_source(BASELINE, teacher))
    found = find(small_sweep(target=target, cells=cells, pretrain=None, align_images=None), fetch=True)
    assert found.absent.keys() == {"xnli"} and "HF_HUB_OFFLINE is set" in found.absent["xnli"]
    assert found.unable == (f"xnli is absent: {found.absent['xnli']}",)


def test_what_an_oracle_is_shown_is_looked_at_where_a_source_of_the_same_name_has_none(mirror, tmp_path):
    for split, language in (("train", "en"), ("validation", "en"), ("validation", "de"), ("test", "de")):
        where = mirror / f"google/xtreme/PAN-X.{language}/{split}-00000-of-00001.parquet"
        files.tagged(where, "ner_tags", [[1, 2, 99 if (split, language) == ("validation", "de") else 0]], PANX_TAGS)
    cells = (BASELINE, from_source(BASELINE, NER))
    sweep = small_sweep(target=with_oracle(NER), cells=cells, pretrain=None, align_images=None)
    found = looked_up(sweep, fetch=False)
    assert found.absent == {}
    with pytest.raises(Invalid, match=r"PAN-X\.de validation"):
        with_rows_read(found, tmp_path / "cache")


def test_a_file_of_ones_own_is_counted_once_however_many_cells_read_it(tmp_path, monkeypatch):
    (tmp_path / "train.tsv").write_text("premise\thypothesis\tlabel\na\tb\tneutral\n")
    task = text_pair_task("mine", train=tmp_path / "train.tsv", rows=9)
    counted: list[str] = []
    true = resolve._counted
    monkeypatch.setattr(resolve, "_counted", lambda task, train: counted.append(task.name) or true(task, train))
    mixed = (Cell(name=f"mine+{other.name}", intermediates=(task, other)) for other in (lab.NLI, lab.QQP))
    sweep = small_sweep(cells=(BASELINE, Cell(name="mine", intermediates=(task,)), *mixed))
    told = "9 training rows are stated, and its files hold 1 in a language: shares by size are of those stated"
    assert looked_up(sweep, fetch=False).remarks == {"mine": told}
    assert counted == ["mine"]


def test_a_published_task_is_not_downloaded_when_planning(monkeypatch):
    monkeypatch.setattr(places, "_downloaded", lambda *_: pytest.fail("a plan must download nothing"))
    wanted = replace(TATOEBA, source=replace(TATOEBA.source, download=True))
    sweep = small_sweep(target=wanted, cells=(BASELINE,), search=Search(trials=0), space=type(partly().space)())
    assert "tatoeba" in find(sweep, fetch=False).absent


def test_the_table_shows_an_absent_cell_with_its_reason_and_the_sweep_is_not_whole(tmp_path):
    found = find(partly(), fetch=False)
    filesystem = pafs.LocalFileSystem()
    record_definition.keep(found.sweep, filesystem, str(tmp_path), found.absent_cells)
    stated = (tmp_path / "sweeps/small" / record_definition.FILE).read_text()
    standing = Standing.from_json(stated, {})
    assert standing.missing("qqp") == found.absent_cells["qqp"]
    assert standing.missing("nli") == "no search trial has finished"
    assert not standing.complete("qqp") and not standing.whole
    assert [cell["absent"] != "" for cell in json.loads(stated)["cells"]] == [False, False, True]


def test_when_the_data_arrive_the_same_definition_goes_on_with_the_cell(tmp_path, mirror):
    filesystem = pafs.LocalFileSystem()
    before = find(partly(), fetch=False)
    record_definition.keep(before.sweep, filesystem, str(tmp_path), before.absent_cells)
    qqp_arrives(mirror)
    after = find(partly(), fetch=False)
    assert not after.absent and after.sweep.cells[2] != before.sweep.cells[2]
    record_definition.keep(after.sweep, filesystem, str(tmp_path), after.absent_cells)
    # and where they are gone again, what was run with them stays as it is
    record_definition.keep(before.sweep, filesystem, str(tmp_path), before.absent_cells)


def test_another_size_or_commit_than_the_published_is_told_in_plan_and_tables_and_stops_nothing(mirror, tmp_path):
    qqp_arrives(mirror)
    note = mirror / "nyu-mll/glue/.cache/huggingface/download/qqp/train-00000-of-00001.parquet.metadata"
    note.parent.mkdir(parents=True)
    note.write_text("0123abc\netag\n1700000000.0\n")
    found = looked_up(partly(), fetch=False)
    told = found.remarks["qqp"]
    assert told.startswith(
        "not the published size: 1 rows of nyu-mll/glue qqp train in 'en', published 363,846; 1 rows"
    )
    assert "1 files of nyu-mll/glue are of commit 0123abc, the catalogue pins bcdcba79d07bc" in told
    assert remarks_text(found.remarks).startswith(
        "data     (counted above as published)\n  qqp: not the published size"
    )
    assert found.cell_remarks == {"qqp": f"qqp: {told}"}
    record_definition.keep(found.sweep, pafs.LocalFileSystem(), str(tmp_path), {}, found.cell_remarks)
    standing = Standing.from_json((tmp_path / "sweeps/small" / record_definition.FILE).read_text(), {})
    rows = per_language(standing, Answers(standing, lambda _: None, lambda _: None)).to_pylist()
    assert {row["remark"] for row in rows if row["cell"] == "qqp"} == {f"qqp: {told}"}
    assert {row["remark"] for row in rows if row["cell"] == "nli"} == {""}


def test_a_source_with_another_number_of_rows_than_english_is_told_in_plan_and_tables():
    few, equal = (from_source(BASELINE, translated(task, code)) for task, code in ((NER, "yo"), (NER, "de")))
    found = looked_up(small_sweep(target=NER, cells=(BASELINE, ALONE, few, equal)), fetch=False)
    told = "trained as many steps on 100 rows as panx on 20,000: a source with fewer rows repeats them more often"
    assert found.remarks == {"panx_yo": told}
    assert found.cell_remarks == {few.name: f"panx_yo: {told}"}


def test_a_source_of_the_lab_or_of_ones_own_with_another_number_of_rows_is_told_too(tmp_path):
    train, *others = lab.VISUAL_NLI.splits
    few = replace(lab.VISUAL_NLI, name="few", splits=(replace(train, rows=100), *others))
    found = looked_up(small_sweep(cells=(BASELINE, from_source(BASELINE, few))), fetch=False)
    told = "trained as many steps on {} rows as {} on {}: a source with fewer rows repeats them more often"
    assert found.remarks == {"few": told.format(100, lab.VISUAL_NLI.name, f"{train.rows:,}")}
    tasks = {}
    for name, languages in (("mine", ["en"] * 3), ("fewer", ["en", "en", "de"])):
        folder = tmp_path / name
        folder.mkdir()
        for split in ("train", "dev", "test"):
            count = len(languages)
            columns = {
                "image": [f"{name}{split}".encode()] * count,
                "hypothesis": [f"{split} {number}" for number in range(count)],
                "label": [0, 1, 2],
                "language": languages if split == "train" else ["en"] * count,
                "id": [f"{split}-{number}" for number in range(count)],
            }
            pq.write_table(pa.table(columns), folder / f"{split}.parquet")
        tasks[name] = parquet_task(name, folder, languages=["en"])
    cells = (BASELINE, from_source(BASELINE, tasks["fewer"]))
    found = looked_up(small_sweep(target=tasks["mine"], cells=cells), fetch=False)
    own = "split 'train' is read in en alone: 1 of its 3 rows are left out (1 in 'de')"
    assert found.remarks == {"fewer": f"{own}; {told.format(2, 'mine', 3)}"}
    assert with_rows_read(found, None).remarks == found.remarks
    cells = (BASELINE, ALONE, *cells[1:])
    published = looked_up(small_sweep(target=tasks["mine"], cells=(*cells, WITH_QQP)), fetch=False)
    assert published.remarks == found.remarks == with_rows_read(published, None).remarks


def test_what_is_as_published_has_no_remark(mirror):
    qqp_arrives(mirror)
    parts = tuple(replace(part, rows=1) for part in QQP.source.parts)
    cell = Cell(name="qqp", intermediates=(replace(QQP, source=replace(QQP.source, parts=parts)),))
    assert looked_up(small_sweep(cells=(BASELINE, cell)), fetch=False).remarks == {}


def test_rows_of_ones_own_that_are_left_out_are_told_in_plan_and_tables(tmp_path):
    for split, languages in (("train", ("en", "de", "de")), ("dev", ("en",)), ("test", ("en", "fr"))):
        columns = {
            "image": [split.encode()] * len(languages),
            "hypothesis": list(languages),
            "label": [0] * len(languages),
            "language": list(languages),
            "id": [f"{split}-{language}-{number}" for number, language in enumerate(languages)],
        }
        pq.write_table(pa.table(columns), tmp_path / f"{split}.parquet")
    task = parquet_task("mine", tmp_path, languages=["en"])
    sweep = small_sweep(target=task, cells=(BASELINE,))
    found = looked_up(sweep, fetch=False)
    assert found.remarks == {"mine": "split 'train' is read in en alone: 2 of its 3 rows are left out (2 in 'de')"}
    assert found.cell_remarks == {"none": f"mine: {found.remarks['mine']}"}
    columns["language"] = ["en", "FR"]
    pq.write_table(
        pa.table({**columns, "id": ["same", "same"], "image": [b"test", b"test"]}), tmp_path / "test.parquet"
    )
    task = parquet_task("mine", tmp_path, languages=["en", "FR"])
    told = looked_up(small_sweep(target=task, cells=(BASELINE,)), fetch=False).remarks["mine"]
    assert told.endswith("; language 'FR' is in no family, script or other group of languages here; did you mean 'fr'?")


def test_a_mirror_folder_that_is_none_is_refused_where_published_data_are_read(mirror, monkeypatch):
    assert find(partly(), fetch=False).looked_in == f"published data were looked for in {mirror} and in the hub's cache"
    mirror.rmdir()
    for fetch in (True, False):
        with pytest.raises(Invalid) as refused:
            find(partly(), fetch=fetch)
        assert refused.value.faults == (
            f"--data, or the variable SWEEP_DATA, must name a folder, got {str(mirror)!r}, which is none; correct it, "
            "or leave it out to read the hub's cache alone",
        )
    found = find(small_sweep(cells=(BASELINE, ALONE)), fetch=False)
    assert found.absent == {} and found.looked_in == ""
    monkeypatch.delenv(places.MIRROR)
    found = find(partly(), fetch=False)
    assert absent_text(found.absent, found.looked_in).endswith(
        "\n  (published data were looked for in the hub's cache alone, since no --data names a mirror folder)"
    )


def test_rows_of_ones_own_text_pairs_that_are_left_out_or_empty_are_told_too(tmp_path):
    (tmp_path / "train.tsv").write_text("premise\thypothesis\tlabel\tlanguage\na\tb\t0\ten\n\tc\t1\ten\nd\te\t2\tde\n")
    task = text_pair_task("mine", train=tmp_path / "train.tsv")
    found = looked_up(small_sweep(cells=(BASELINE, Cell(name="mine", intermediates=(task,)))), fetch=False)
    left_out = "split 'train' is read in en alone: 1 of its 3 rows are left out (1 in 'de')"
    assert found.remarks == {"mine": f"{left_out}; 1 of 2 texts in 'premise' of train are empty"}
    assert found.cell_remarks == {"mine": f"mine: {found.remarks['mine']}"}


def test_a_sweep_begun_before_selectors_is_refused_until_its_definition_says_what_it_did(tmp_path):
    filesystem, sweep = pafs.LocalFileSystem(), small_sweep()
    record_definition.keep(sweep, filesystem, str(tmp_path))
    file = tmp_path / "sweeps/small" / record_definition.FILE
    stated = json.loads(file.read_text())
    for name in ("selector", "checkpoints"):
        del stated["definition"][name]
    file.write_text(json.dumps(stated))
    with pytest.raises(Invalid, match=r"selector must be what it was when this sweep began: .*last_step"):
        record_definition.keep(sweep, filesystem, str(tmp_path))
    record_definition.keep(replace(sweep, selector=Selector.LAST_STEP, checkpoints=1), filesystem, str(tmp_path))


def test_numbers_that_target_labels_have_chosen_say_so(tmp_path):
    target = with_oracle(lab.VISUAL_NLI)
    described = record_definition.described(small_sweep(target=target, selector=Selector.ORACLE))
    assert "chosen by target-language labels (oracle)" in described["remark"]
    assert "oracle" not in record_definition.described(small_sweep())["remark"]
