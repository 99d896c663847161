"""Claims about the report: it answers no more than it may, shows every absence, escapes all text, loads nothing."""

from __future__ import annotations

import dataclasses
import html.parser
import io
import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from search_spaces.transfer_grid import CellRole
from sweep import Results
from sweep.columns import COMPARISONS
from sweep.comparisons import adjusted, gain_numbers
from sweep.findings import findings
from sweep.outcomes import Answers
from sweep.records import Phase, State, TrialKey
from sweep.report import figures
from sweep.report.answer import answer
from sweep.report.build import FAILURES, Material, _oracle_words, _published, build
from sweep.report.figures import INK, plots
from sweep.report.inline import inline_svg
from sweep.report.page import render
from sweep.report.texts import Column, html_table, latex_table, latex_text, plain, with_interval
from sweep.report.words import Words, kind_of_cells
from sweep.tables import trials
from tests.pure import fake_sweep as fake

SCRIPT = "<script>alert(1)</script> & $x$"


@pytest.fixture(scope="module")
def material() -> Material:
    standing = fake.standing([*fake.happenings()])
    tables = findings(standing, Answers(standing, fake.scores, fake.predictions), None)
    stated = {"name": "fake", "definition": {"target": {"name": SCRIPT, "source": {}, "licence": "none"}}}
    published = [{"model": SCRIPT, "cell": SCRIPT, "language": "de", "accuracy": 0.5}]
    rows = trials(standing).to_pylist()
    rows = [{**row, "reason": SCRIPT if row["reason"] else ""} for row in rows]
    return Material(
        standing=standing,
        findings=tables,
        trials=pa.Table.from_pylist(rows, schema=trials(standing).schema),
        stated=stated,
        runs=({"commit": "0123456789ab", "python": "3.11", "libraries": {"torch": "2"}},),
        published=published,
    )


@pytest.fixture(scope="module")
def built(material):
    return build(material)


@pytest.fixture(scope="module")
def page(built) -> str:
    return render(built[0])


def test_a_figure_laid_out_once_is_as_matplotlib_saves_it(built, material):
    again = plots(material.findings, material.trials, {}, Words.of(material.standing, material.stated))
    for plot, other in zip(built[1], again, strict=True):
        usual = io.BytesIO()
        with matplotlib.rc_context({**figures._STYLE, "svg.hashsalt": plot.name}):
            metadata = {"Date": None, "Creator": None}
            other.figure.savefig(usual, format="svg", transparent=True, metadata=metadata)
        assert plot.svg() == usual.getvalue().decode(), plot.name


@pytest.mark.parametrize(
    ("sees", "told"),
    [
        ("oracle_dev", "development data in those other languages that have any, and the whole test is reported."),
        ("oracle", "by one half of the test items, and the other is reported."),
        ("report", "it sees the test itself: those gaps are a little too large."),
    ],
)
def test_what_the_oracle_saw_of_a_runs_checkpoints_is_said(sees, told):
    words = _oracle_words({"correlations": [], "selectors": [{"oracle_sees": ""}, {"oracle_sees": sees}]})
    assert words.startswith("Among the checkpoints of a run it ") and words.endswith(told)


class _Reader(html.parser.HTMLParser):
    """Open tags that were never closed, ids, and everything that a browser might fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.ids, self.fetched, self.texts = [], [], [], []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids += [given["id"]] if "id" in given else []
        self.fetched += [
            value
            for name, value in attributes
            if name in ("src", "href", "xlink:href", "action") and value and not value.startswith(("#", "data:"))
        ]
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in ("meta", "link", "br"):
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def read(page) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    return reader


def test_the_page_is_whole_and_names_nothing_twice(read):
    assert read.open == []
    assert len(read.ids) == len(set(read.ids))


def test_the_page_loads_nothing(page, read):
    assert read.fetched == []
    assert "default-src 'none'" in page
    assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttpRequest", page)


def test_all_text_is_escaped(page, read):
    assert page.count("<script") == 1
    assert page.count("alert(1)") >= 4  # reason, target, published model, definition
    assert sum(SCRIPT in text for text in read.texts) >= 3


def test_the_same_tables_make_the_same_figure(built, material):
    assert inline_svg(built[1][0]) == inline_svg(build(material)[1][0])
    assert "Date" not in built[1][0].svg()


def test_the_page_begins_with_the_answer_and_names_every_absence(page):
    assert page.index("Yes: intermediate training on nli") < page.index("<svg")
    assert "broken has absences: no search trial has finished; one failed" in page


def test_every_square_of_the_matrix_is_a_mark_with_its_cell_and_language(page, material):
    gains = material.findings["per_language"].to_pylist()
    wanted = {(r["cell"], r["language"]) for r in gains if r["gain"] is not None and r["role"] == CellRole.TRANSFER}
    matrix = page[page.index('id="figure-transfer_matrix"') : page.index('id="figure-accuracy"')]
    assert set(re.findall(r'class="mark"[^>]*data-cell="([^"]+)" data-language="([^"]+)"', matrix)) == wanted


def test_the_printed_matrix_has_every_gain_with_its_interval(built, material):
    (table,) = [one for section in built[0].sections for one in section.tables if one.name == "transfer_matrix"]
    row = next(
        row for row in material.findings["per_language"].to_pylist() if (row["cell"], row["language"]) == ("nli", "de")
    )
    numbers = [f"{row[name]:+.3f}".replace("+", "$+$") for name in ("gain", "gain_low", "gain_high")]
    line = next(line for line in table.latex.splitlines() if line.startswith("de & "))
    assert f"{numbers[0]} [{numbers[1]}, {numbers[2]}]" in line and line.endswith(r"\\")
    assert " & -- & " in line  # broken has none


def test_a_figure_of_the_page_takes_the_pages_ink_and_a_file_has_its_own(built):
    plot = built[1][0]
    assert ElementTree.fromstring(plot.svg()).tag.endswith("svg")
    assert INK in plot.svg() and INK not in inline_svg(plot) and "currentColor" in inline_svg(plot)
    assert plot.png().startswith(b"\x89PNG")


def test_a_mixture_of_three_is_a_triangle_and_of_four_parallel_lines(material):
    def trial(number: int, tasks: str) -> dict:
        shares = {f"value.share.{task}": 1 / len(tasks) for task in tasks}
        shares |= {
            f"value.share.{task}": 1 / len(tasks) + sign * number / 100
            for task, sign in zip("ab", (1, -1), strict=True)
        }
        row = {"cell": "mixed", "role": "transfer", "phase": "search", "number": number, "state": "finished"}
        return {**row, "score": 0.5 + number / 10, **shares}

    for tasks, words in (("abc", "nearer to a corner"), ("abcd", "Each line is a trial")):
        table = pa.Table.from_pylist([trial(number, tasks) for number in range(3)])
        (plot,) = [p for p in plots(material.findings, table, {"mixed": tuple(tasks)}) if p.name == "mixing_mixed"]
        assert words in plot.caption
        assert len(plot.marks) == 3


def test_shares_that_never_vary_are_said_not_to(material):
    row = {"cell": "mixed", "role": "transfer", "phase": "search", "state": "finished", "score": 0.5}
    same = [{**row, "number": n, **{f"value.share.{task}": 0.25 for task in "abcd"}} for n in range(3)]
    table = pa.Table.from_pylist(same)
    (plot,) = [p for p in plots(material.findings, table, {"mixed": tuple("abcd")}) if p.name == "mixing_mixed"]
    assert plot.caption == "All trials have the same shares, so nothing is known of others."


def test_a_sweep_with_nothing_yet_has_a_report_that_says_so():
    standing = fake.standing([])
    tables = findings(standing, Answers(standing, fake.scores, fake.predictions), None)
    page, plots = build(Material(standing=standing, findings=tables, trials=trials(standing), stated={}))
    assert plots == []
    assert "No answer yet" in render(page)


def test_every_failed_trial_is_shown_or_the_file_that_has_it_is_named(material):
    rows = material.trials.to_pylist()
    failed = next(row for row in rows if row["state"] == "failed")
    many = [{**failed, "number": number} for number in range(FAILURES + 1)]
    trials = pa.Table.from_pylist(many, schema=material.trials.schema)
    page, _ = build(dataclasses.replace(material, trials=trials))
    (table,) = [one for section in page.sections for one in section.tables if one.name == "failures"]
    assert len(table.rows) == FAILURES
    assert table.caption.endswith("the first 200; every one is in the file trials.csv beside this page")


EXPLAINED = {
    "transfer_matrix": ("test language", "intermediate training", "gain in accuracy", "95% interval excludes 0, uncor"),
    "accuracy": ("test language", "accuracy", "a language", "a mean", "95% interval", "none, the baseline"),
    "groups": ("group of languages", "intermediate training", "gain in accuracy", "95% interval excludes 0, uncor"),
    "optimism": ("English dev accuracy", "won the search", "on fresh seeds, mean", "95% interval over seeds"),
    "learning_rates": ("learning rate", "English dev accuracy", "target.learning_rate", "stopped early"),
    "history": ("number of the search trial", "English dev accuracy", "finished", "best finished so far"),
    "expected_best": ("search trials", "expected best English dev accuracy", "95% bootstrap band"),
}


def test_the_file_of_a_figure_names_its_axes_and_explains_its_marks(built):
    drawn = {plot.name: plot.svg() for plot in built[1]}
    assert set(drawn) == set(EXPLAINED)
    for name, texts in EXPLAINED.items():
        for text in texts:
            assert f">{text}" in drawn[name], (name, text)
        assert "<image" not in drawn[name], "a screen reader would tell of it"


def test_a_target_scored_by_f1_is_not_said_to_have_an_accuracy(material):
    standing = dataclasses.replace(material.standing, metric="f1")
    page, drawn = build(dataclasses.replace(material, standing=standing))
    captions = {plot.name: plot.caption for plot in drawn}
    assert captions["transfer_matrix"].startswith("F1 minus the baseline's")
    assert captions["optimism"].startswith("English dev accuracy"), "the search may go by another score"
    assert [section.title for section in page.sections][1] == "F1 per language"
    cells = tuple(dataclasses.replace(cell, dev_metric="f1") for cell in standing.cells)
    words = Words.of(dataclasses.replace(standing, cells=cells), material.stated)
    assert (words.english_dev, words.title) == ("English dev F1", "F1")


def test_cc_100_is_said_to_be_the_text_of_xlm_r_where_another_encoder_is_swept(material):
    text = {"type": "SmallEncoder"}
    small = Words.of(material.standing, {"definition": {"encoder": {"text": text}}})
    large = Words.of(
        material.standing, {"definition": {"encoder": {"text": {"repository": "FacebookAI/xlm-roberta-base"}}}}
    )
    assert small.text.endswith("the encoder of this sweep was not") and not large.text.endswith("was not")
    for named, said in (
        ({"path": "models/xlm-roberta-base"}, "which XLM-R was trained on"),
        ({"repository": "microsoft/mdeberta-v3-base"}, "which XLM-R was trained on"),
        ({"repository": "google-bert/bert-base-multilingual-cased"}, "the encoder of this sweep was not"),
        ({"path": "models/mine"}, "whether the encoder of this sweep was, too, is not known here"),
    ):
        text = Words.of(material.standing, {"definition": {"encoder": {"text": named}}}).text
        assert text.endswith(said), named


def test_beside_published_numbers_stands_the_cell_that_english_dev_likes_best_and_not_the_test(material):
    def row(cell: str, role: str, accuracy: float) -> dict:
        return {"cell": cell, "role": role, "language": "de", "accuracy": accuracy}

    own = [row("none", "baseline", 0.5), row("liked", "transfer", 0.6), row("lucky", "transfer", 0.9)]
    dev = {"none": 0.9, "liked": 0.8, "lucky": 0.7}
    selection = [{"cell": one["cell"], "role": one["role"], "confirmed_score": dev[one["cell"]]} for one in own]
    published = [{"model": "theirs", "language": "de", "accuracy": 0.7, "file": "theirs.csv"}]
    given = dataclasses.replace(material, published=published)
    (table,) = _published(given, {"per_language": own, "selection": selection}, Words())
    heads = [column.head for column in table.columns]
    assert heads == ["language", "none (this sweep)", "liked (this sweep)", "theirs"]
    assert "the published numbers of theirs.csv" in table.caption
    assert "liked, the transfer cell with the best English dev accuracy" in table.caption
    assert "tested on lab_visual_nli: the file does not say of which test" in table.caption
    lab = {"definition": {"target": {"source": {"type": "LabSource"}}}}
    (table,) = _published(dataclasses.replace(given, stated=lab), {"per_language": own, "selection": []}, Words())
    assert [column.head for column in table.columns] == ["language", "none (this sweep)", "theirs"]
    assert table.caption.endswith("no published number is of that, since it is generated here")


def test_published_numbers_have_their_means_and_stand_beside_ones_own_by_the_same_definition(material):
    """Over labelled items one's own would be larger: IGLUE counts an item without a gold label as wrong."""
    accuracies = {"de": 0.70, "en": 0.80, "th": 0.60}
    published = [{"model": "theirs", "language": code, "accuracy": value} for code, value in accuracies.items()]
    published += [{"model": "partly", "language": "de", "accuracy": 0.5}]
    by_iglue = {"none": {"de": 0.4, "en": 0.5, "th": 0.3}}
    given = dataclasses.replace(material, published=published, by_iglue=by_iglue)
    own = [{"cell": "none", "role": "baseline", "language": "de", "accuracy": 0.45}]
    (table,) = _published(given, {"per_language": own, "selection": []}, Words())
    shown = {row["language"]: [column.shows(row) for column in table.columns[1:]] for row in table.rows}
    assert shown["de"] == ["0.400", "0.700", "0.500"] and "by IGLUE's definition" in table.caption
    assert shown["mean"] == ["0.400", "0.700", "."]
    assert shown["mean_without_en"] == ["0.350", "0.650", "."]
    (table,) = _published(dataclasses.replace(given, by_iglue={}), {"per_language": own, "selection": []}, Words())
    assert "0.450" in [column.shows(row) for row in table.rows for column in table.columns]
    assert "IGLUE" not in table.caption


# The sentence


def _comparisons(*rows: dict) -> pa.Table:
    usual = {
        "sweep": "s", "role": "transfer", "against": "none", "against_role": "baseline", "language": "mean_without_en",
        "seeds": 3, "items": 100, "family": "f", "family_size": 2, "absent_reason": "", "smallest_gain": 0.03,
    }  # fmt: skip
    return pa.Table.from_pylist([{**usual, **row} for row in rows], schema=COMPARISONS)


def _gain(cell: str, gain: float | None, p: float | None, *, half: float | None = None, **more: object) -> dict:
    """A row whose simultaneous interval, unless `half` says otherwise, excludes zero just where `p` is below 0.05."""
    ends = {} if gain is None else {"gain_low": gain - 0.02, "gain_high": gain + 0.02}
    if p is not None and gain is not None:
        half = half or abs(gain) + (0.03 if p >= 0.05 else -0.03)
        ends |= {"simultaneous_low": gain - half, "simultaneous_high": gain + half}
    return {"cell": cell, "gain": gain, "p_value": p, "p_cautious": p, "p_holm": p, "q_value": p, **ends, **more}


def test_a_gain_is_claimed_only_below_the_corrected_level():
    said = answer(_comparisons(_gain("nli", 0.05, 0.01), _gain("qqp", 0.04, 0.06)))
    assert said == (
        "Yes: intermediate training on nli raises the mean accuracy over the languages other than English by "
        "+0.050, simultaneous 95% interval of 2 [+0.030, +0.070], over none, Holm-corrected p = 0.010 of 2 kinds of "
        "intermediate training.",
    )
    said = answer(_comparisons(_gain("nli", 0.05, 0.051), _gain("qqp", 0.04, 0.06)))
    assert said[0].startswith(
        "Not shown: of 2 kinds of intermediate training none has an interval that shows it to change"
    )
    assert "gains below 0.090 are missed so more than once in five times" in said[0]


def test_no_claim_has_an_interval_with_zero_in_it_and_what_holm_alone_finds_is_said_to_be_his():
    large = _gain("large", 0.2, 0.03, half=0.22)
    said = answer(_comparisons(large, _gain("sure", 0.1, 0.002)))
    assert said[0].startswith("Yes: intermediate training on sure raises the ")
    assert "by +0.100, simultaneous 95% interval of 2 [+0.030, +0.170], over none, Holm-corrected p = 0.002" in said[0]
    assert "so do" not in said[0]
    assert said[0].endswith("Holm's correction alone, which has no interval, finds a gain of large (p = 0.030) too.")
    said = answer(_comparisons(large, _gain("bad", -0.1, 0.002)))
    assert said[0].startswith("Not shown: of 2 kinds of intermediate training none has an interval that shows it to r")
    assert "bad lowers it. Holm's correction alone, which has no interval, finds a gain of large" in said[0]
    said = answer(_comparisons(large, _gain("small", 0.01, 0.8)))
    assert said[0].startswith("Not shown: of 2 kinds") and "finds a gain of large (p = 0.030)." in said[0]


def test_no_is_said_where_each_is_shown_to_lower_it_and_never_for_want_of_evidence():
    bad, worse = _gain("bad", -0.1, 0.002), _gain("worse", -0.2, 0.001)
    (said,) = answer(_comparisons(bad, worse))
    assert said.startswith("No: each of 2 kinds of intermediate training lowers the mean accuracy")
    assert "The best is bad, -0.100" in said
    (said,) = answer(_comparisons(bad, _gain("good", 0.1, 0.2, half=0.12)))
    assert said.startswith("Not shown: of 2 kinds") and "bad lowers it. The best is good, +0.100" in said


def test_every_claim_of_a_family_excludes_zero_with_the_p_values_and_ends_that_are_computed():
    """Families as `comparisons` makes them, among them such as Holm's correction and the intervals disagree on."""
    random, claims, disagree = np.random.default_rng(0), 0, 0
    for _ in range(80):
        shown = random.normal(0.09, 0.05, (3, 1, 1)) + random.normal(0, 0.02, (3, 5, 1))
        rows = [gain_numbers(one, ()) for one in shown + random.normal(0, 0.3, (3, 5, 60))]
        adjusted(rows)
        named = [{"cell": f"c{k}", **{n: v for n, v in row.items() if n != "ends"}} for k, row in enumerate(rows)]
        (said,) = answer(_comparisons(*named))
        disagree += "Holm's correction alone" in said
        excluded = {row["cell"] for row in named if row["simultaneous_low"] > 0}
        assert said.startswith("Yes") == bool(excluded)
        if excluded:
            claims += 1
            low = float(re.search(r"simultaneous 95% interval of 3 \[([+-][0-9.]+)", said)[1])
            assert low >= 0 and set(re.findall(r"c[012]", said.partition("Holm's")[0])) == excluded, said
    assert claims > 10 and disagree > 0


def test_what_it_took_holds_what_was_stopped_and_no_hours_of_another_sweep(material):
    """Hours by the sweep's own meter; of stages that another has trained the table counts none."""
    key = next(iter(material.standing.records))
    record = material.standing.records[key]
    mine = {"digest": "a" * 24, "kind": "train", "steps": 80, "steps_executed": 80, "reused": False, "seconds": 3600.0}
    other = {**mine, "digest": "b" * 24, "steps_executed": 0, "reused": True, "seconds": 7200.0}
    pruned = TrialKey(cell=key.cell, phase=Phase.SEARCH, number=99)
    records = {
        key: dataclasses.replace(record, stage_runs=(mine, other)),
        pruned: dataclasses.replace(
            record, key=pruned, state=State.PRUNED, stage_runs=(), scored=((40, 0.5),), winner=None, stages=("c" * 24,)
        ),
    }
    standing = dataclasses.replace(material.standing, records=records)
    spent = {"gang_hours": 1.5, "node_hours": 2.25, "seconds": 1800.0}
    page, _ = build(dataclasses.replace(material, standing=standing, spent=spent))
    (section,) = [one for one in page.sections if one.name == "cost"]
    assert "1.50 h of gangs, 2.25 h of machines in 0.50 h of wall clock" in section.words[0]
    (table,) = section.tables
    lines = {row["kind"]: [column.shows(row) for column in table.columns[1:]] for row in table.rows}
    assert lines["train"] == ["2", "2", "1", "160", "80", "1.00"]
    assert lines["pruned or failed before their end"] == ["1", "0", "0", "40", "40", "0.00"]
    assert lines["all"] == ["3", "2", "1", "200", "120", "1.00"]


def test_the_answer_warns_where_what_it_compares_is_no_better_than_a_blind_model(material):
    table = material.findings["per_language"]
    rows = [
        {**row, "remark": "no better than image_only; other"} if row["cell"] in cells and row["is_mean"] else row
        for cells in [("none", "image_only")]
        for row in table.to_pylist()
    ]
    changed = {**material.findings, "per_language": pa.Table.from_pylist(rows, schema=table.schema)}
    page, _ = build(dataclasses.replace(material, findings=changed))
    said = "Beware: the baseline none is no better than image_only, on the mean over the languages other than English."
    assert said in page.answer
    assert not any("no better" in one for one in build(material)[0].answer)


def test_cells_that_are_learned_otherwise_are_not_said_to_have_intermediate_training(material):
    (said,) = answer(_comparisons(_gain("from_de", 0.05, 0.01)), "training")
    assert said.startswith("Yes: the training of cell from_de raises the ") and said.endswith(" of 1 kind of training.")
    standing = material.standing
    assert kind_of_cells(standing) == "intermediate training"
    cells = tuple(dataclasses.replace(c, intermediates=()) if c.name == "nli" else c for c in standing.cells)
    other = dataclasses.replace(standing, cells=cells)
    assert kind_of_cells(other) == "training"
    page, _ = build(dataclasses.replace(material, standing=other))
    assert "intermediate training" not in " ".join(page.answer)
    assert page.sections[0].title == "Which training helps which language"


def test_a_very_small_p_value_is_below_and_does_not_equal():
    assert "Holm-corrected p < 0.001 of" in answer(_comparisons(_gain("nli", 0.05, 0.0001)))[0]


def test_a_loss_is_said_to_be_one():
    said = answer(_comparisons(_gain("qqp", -0.05, 0.001)))
    assert said[0].startswith("No: ")
    assert "training on qqp lowers the mean accuracy" in said[0]


def test_a_control_that_helps_is_a_warning():
    said = answer(_comparisons(_gain("nli", 0.05, 0.01), _gain("shuffled", 0.03, 0.02, role="control")))
    assert said[-1] == "Beware: the control shuffled, which must not help, shows a gain too."


def test_the_longer_baseline_is_told_of_where_there_is_one():
    longer = _gain("nli", 0.01, 0.5, against="longer", against_role="compute_matched")
    said = answer(_comparisons(_gain("nli", 0.05, 0.01), longer))
    assert said[1].startswith("Over a baseline whose target training is as long as both stages, nli gains +0.010")


def test_the_longer_baseline_is_told_of_the_cell_that_was_claimed():
    at = {"against": "longer", "against_role": "compute_matched"}
    longer = _gain("large", 0.15, 0.9, **at), _gain("sure", 0.01, 0.5, **at)
    said = answer(_comparisons(_gain("large", 0.2, 0.2), _gain("sure", 0.1, 0.002), *longer))
    assert said[0].startswith("Yes: intermediate training on sure ")
    assert said[1].startswith("Over a baseline whose target training is as long as both stages, sure gains +0.010")


def test_one_run_claims_nothing():
    said = answer(_comparisons(_gain("nli", 0.05, None, seeds=1)))
    assert "one run of each cell cannot say" in said[0]
    said = answer(_comparisons(_gain("nli", 0.05, None, seeds=3)))
    assert "seeds that all gain the same cannot say" in said[0]
    absent = answer(_comparisons(_gain("nli", None, None, absent_reason="no run of the same seed")))
    assert absent == ("No answer yet: no run of the same seed.",)


# Tables for pages and papers


COLUMNS = (Column("a_b", plain("name"), numeric=False), Column("gain", with_interval("gain", signed=True)))
ROW = {"name": "50% & more_x", "gain": -0.1, "gain_low": -0.2, "gain_high": 0.0, "cell": "c"}


def test_a_latex_table_is_booktabs_with_all_specials_escaped():
    text = latex_table("my_table", "A_caption", COLUMNS, [ROW, {**ROW, "gain": None}])
    assert r"\caption{A\_caption}\label{tab:my-table}" in text
    assert r"50\% \& more\_x & $-$0.100 [$-$0.200, $+$0.000] \\" in text
    assert r"50\% \& more\_x & -- \\" in text
    assert [rule for rule in (r"\toprule", r"\midrule", r"\bottomrule") if rule not in text] == []
    assert latex_text("\\{}~^#$<>") == (r"\textbackslash{}\{\}\textasciitilde{}\textasciicircum{}\#\$$<$$>$")


def test_a_long_latex_table_breaks_over_pages_and_a_short_one_does_not():
    many = [{**ROW, "name": f"row {number}"} for number in range(41)]
    text = latex_table("long", "Many", COLUMNS, many)
    assert r"\begin{longtable}{@{}lr@{}}" in text and r"\begin{table}" not in text
    assert text.count(r"\toprule") == 2, "the head stands on every page"
    assert r"\caption{Many}\label{tab:long}\\" in text
    assert r"\begin{longtable}" not in latex_table("short", "Few", COLUMNS, many[:40])


def test_a_wide_latex_table_has_intervals_below_their_numbers_and_what_is_the_same_in_its_caption():
    rows = [{**ROW, "name": name, "seeds": 3, "absent": "."} for name in ("one", "two")]
    gains = [Column(f"gain {number} [95%]", with_interval("gain", signed=True)) for number in range(5)]
    constant = [Column("seeds", plain("seeds")), Column("absent", plain("absent"), numeric=False)]
    columns = (COLUMNS[0], *gains, *constant, Column("row", lambda row: row["name"]))
    text = latex_table("wide", "Wide", columns, [rows[0], {**rows[1], "gain": 0.1}])
    assert r"\shortstack[r]{$-$0.100\\{\tiny [$-$0.200,$+$0.000]}}" in text
    assert r"\caption{Wide; seeds: 3}" in text and "absent" not in text
    assert r"\begin{table*}" in text and r"\end{table*}" in text
    assert r" & \shortstack[r]{\scriptsize gain 0\\{}[95\%]} & " in text


def test_a_table_of_the_page_can_be_walked_by_a_screen_reader():
    text = html_table("t", "What it is", COLUMNS, [ROW])
    assert "<caption>What it is</caption>" in text
    assert text.count('scope="col"') == 2 and text.count('scope="row"') == 1
    assert 'data-cell="c"' in text and "50% &amp; more_x" in text


def test_a_report_is_written_beside_its_figures_and_tables(tmp_path):
    fake.write(str(tmp_path))
    paths = Results.open(str(tmp_path), "fake").report()
    folder = tmp_path / "sweeps" / "fake" / "report"
    assert paths[0] == str(folder / "report.html")
    found = {path.name for path in (folder / "report_files").iterdir()}
    assert {"transfer_matrix.svg", "transfer_matrix.png", "summary.tex", "comparisons.parquet", "trials.csv"} <= found
    assert len(pacsv.read_csv(folder / "report_files" / "comparisons.csv")) == 15
    assert (folder / "report.html").stat().st_size < 3_000_000


def test_a_figure_that_has_no_panel_for_every_cell_says_so(material, monkeypatch):
    """Of four figures each, in the same order, so that all show the same cells."""
    whole = {plot.name: plot for plot in _plots(material)}
    assert not any("the others are in the tables" in plot.caption for plot in whole.values())
    monkeypatch.setattr(figures, "PANELS", 2)
    named = {}
    for plot in _plots(material):
        if plot.name in ("accuracy", "learning_rates", "history", "expected_best"):
            assert (
                f" The first 2 of {len(_cells(whole[plot.name]))} cells; the others are in the tables." in plot.caption
            )
            named[plot.name] = _cells(plot)
    assert len(named) == 4 and all(len(cells) == 2 for cells in named.values())
    assert named["learning_rates"] == named["history"] == named["expected_best"]


def _plots(material):
    return plots(material.findings, material.trials, {}, Words.of(material.standing, material.stated))


def _cells(plot) -> list[str]:
    return [axes.get_title(loc="left") for axes in plot.figure.axes if axes.get_title(loc="left")]


def test_learning_rates_within_two_powers_of_ten_can_be_read_off_their_axis(material):
    (plot,) = [plot for plot in _plots(material) if plot.name == "learning_rates"]
    axes = plot.figure.axes[0]
    low, high = axes.get_xlim()
    ticks = [*axes.xaxis.get_ticklabels(which="both")]
    plot.svg()
    shown = [label.get_text() for label in ticks if label.get_text() and low <= label.get_position()[0] <= high]
    assert len(shown) >= 2, shown
