"""Tables of tasks with items that have no gold label, text proxies, published results beside one's own."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from sweep.cli import main
from sweep.findings import findings
from sweep.outcomes import Answers
from sweep.per_language import per_language
from sweep.record_definition import described
from sweep.show import published_lines
from sweep.standing import Standing
from sweep.tables import mixtures, trials
from tests.libraries.test_tensorboard import _sweep
from tests.pure import fake_sweep as fake
from trainables.catalogue.task import Role
from trainables.faults import Invalid


def without_gold(digest: str) -> pa.Table | None:
    """The fake predictions with every tenth gold label gone."""
    table = fake.predictions(digest)
    if table is None:
        return None
    gold = [None if row % 10 == 0 else label for row, label in enumerate(table["gold"].to_pylist())]
    return table.set_column(table.schema.get_field_index("gold"), "gold", pa.array(gold, pa.string()))


def test_accuracy_is_over_labelled_items_alone():
    standing = fake.standing()
    whole = Answers(standing, fake.scores, fake.predictions).by_seed("none", ("en",))
    some = Answers(standing, fake.scores, without_gold).by_seed("none", ("en",))
    assert {outcome.count for outcome in whole.values()} == {80} and {o.count for o in some.values()} == {72}


def test_an_oracles_score_and_a_second_metric_are_no_outcome():
    def more(digest: str):
        found = fake.scores(digest)
        if found is None:
            return None
        oracle = [replace(score, role=Role.ORACLE, split="oracle", value=0.99) for score in found]
        return (*oracle, *found, *(replace(score, metric="accuracy_iglue", value=0.01) for score in found))

    standing = fake.standing()
    told = Answers(standing, more, lambda _: None).by_seed("none", ("en",))
    expected = Answers(standing, fake.scores, lambda _: None).by_seed("none", ("en",))
    assert {seed: o.value for seed, o in told.items()} == {seed: o.value for seed, o in expected.items()}


def test_a_text_proxy_is_marked_in_every_row():
    standing = replace(fake.standing(), remark="text proxy: no image was read")
    table = per_language(standing, Answers(standing, fake.scores, fake.predictions))
    assert all(remark.startswith("text proxy: no image was read") for remark in table["remark"].to_pylist())


def test_every_table_says_what_its_numbers_are_about():
    standing = replace(fake.standing(), remark="text proxy: no image was read")
    answers = Answers(standing, fake.scores, fake.predictions)
    found = findings(standing, answers, None) | {"trials": trials(standing), "mixtures": mixtures(standing)}
    for name, table in found.items():
        column = "remark" if name.startswith("per_") else "target"
        assert column in table.column_names, name
        assert all("text proxy: no image was read" in told for told in table[column].to_pylist()), name
    assert len(found["comparisons"]) and len(found["correlations"]) and len(found["trials"])
    assert fake.standing().target_in_words == "lab_visual_nli"


def test_the_remark_of_a_task_reaches_the_tables_through_the_definition_that_is_kept():
    import json

    sweep = _sweep()
    proxy = replace(sweep, target=replace(sweep.target, remark="text proxy"))
    assert Standing.from_json(json.dumps(described(proxy)), {}).remark == "text proxy"
    assert Standing.from_json(json.dumps(described(sweep)), {}).remark == ""


class XvnliResults:
    """Results of a sweep on XVNLI, by hand."""

    def standing(self) -> Standing:
        return replace(fake.standing(), target="xvnli")

    items = 1_164
    shown = "oracle"

    def scores(self) -> pa.Table:
        row = {"cell": "none", "role": "report", "split": "test", "metric": "accuracy_iglue", "count": self.items}
        rows = [{**row, "language": code, "value": 0.5} for code in ("ar", "es", "fr", "ru")]
        rows += [{**row, "language": "en", "value": value} for value in (0.6, 0.8)]
        rows += [{**row, "language": "en", "metric": "accuracy", "value": 0.1}]
        shown = {"language": "en", "role": "oracle", "split": self.shown, "value": 0.0}
        return pa.Table.from_pylist([*rows, {**row, **shown}])


def test_published_results_stand_beside_ones_own_by_the_same_definition():
    text = published_lines(XvnliResults(), width=0)
    own = next(line.split() for line in text.splitlines() if line.startswith("none"))
    assert own[:9] == ["none", "this", "sweep", "0.700", "0.500", "0.500", "0.500", "0.500", "0.500"]
    uc2 = next(line for line in text.splitlines() if line.startswith("UC2") and "zero-shot" in line)
    assert "0.562" in uc2 and "0.620" in uc2 and "Bugliarello et al. 2022" in uc2
    assert "IGLUE's definition" in text and "One's own is of half the test" in text
    assert published_lines(XvnliResults(), "markdown").splitlines()[1].startswith("| --- |")


def test_where_an_oracle_saw_development_data_ones_own_is_of_the_whole_test():
    class OfDevelopment(XvnliResults):
        shown = "oracle_dev"

    assert "half the test" not in published_lines(OfDevelopment(), width=0)


def test_ones_own_result_on_other_items_than_the_published_ones_is_marked():
    """A release that leaves out the rows without a gold label has 1,150."""

    class Without(XvnliResults):
        items = 1_150

        def scores(self) -> pa.Table:
            return super().scores().filter(pc.field("role") == "report")

    text = published_lines(Without(), width=0)
    assert "this sweep, 1,150 items" in next(line for line in text.splitlines() if line.startswith("none"))
    assert "One's own is not of the 1,164 items of each language that the published results are of" in text
    assert "items of each" not in published_lines(XvnliResults(), width=0)


def test_what_cannot_stand_beside_published_results_is_refused(tmp_path, capsys):
    fake.write(str(tmp_path))
    assert main(["table", "fake", "--storage", str(tmp_path), "--with-published"]) == 2
    assert "got the target 'lab_visual_nli'; leave --with-published out" in capsys.readouterr().err
    assert main(["table", "fake", "--storage", str(tmp_path), "--with-published", "--format", "csv"]) == 2
    assert "--with-published needs --format table or markdown, got csv" in capsys.readouterr().err


def test_an_image_only_cell_needs_images():
    sweep = _sweep()
    with pytest.raises(Invalid, match="must have images for image-only cells"):
        replace(sweep, target=fake_proxy(), cells=(*sweep.cells, *image_only()))


def fake_proxy():
    from trainables.catalogue import xtreme_m

    files = {name: xtreme_m.iglue("nowhere", name) for name in ("train", "dev", "test")}
    return xtreme_m.xvnli_text_proxy(**files)


def image_only():
    from search_spaces.transfer_grid import Cell, CellRole

    return (Cell(name="blind", role=CellRole.IMAGE_ONLY),)
