"""What a sweep's report says and in which order, from its tables; draws nothing and writes no file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import pyarrow as pa

from search_spaces.transfer_grid import CellRole
from sweep.languages import language_name
from sweep.per_language import MEAN, MEAN_WITHOUT_SOURCE, groups
from sweep.records import State
from sweep.report.answer import answer, listed, of_published
from sweep.report.figures import Plot, Row, cells_in_order, plots
from sweep.report.page import Page, PrintedTable, Section
from sweep.report.texts import Column, plain, probability, share, with_interval
from sweep.report.words import Words
from sweep.reuse import achieved, stopped_steps
from sweep.selectors import by_selector, selector_words
from sweep.sources import in_words, sources
from sweep.standing import Standing
from trainables.catalogue.task import ORACLE_DEV, ORACLE_HALF, LabSource

#: More failures than that are in the table of trials alone.
FAILURES = 200


@dataclass(frozen=True, kw_only=True)
class Material:
    """All that a report is made of."""

    standing: Standing
    findings: Mapping[str, pa.Table]
    trials: pa.Table
    stated: Mapping[str, Any]
    """The sweep's `definition.json`."""
    runs: Sequence[Mapping[str, Any]] = ()
    """What `sweep.provenance` kept of each run."""
    published: Sequence[Row] = ()
    """Published accuracies, with the columns `model`, `language` and `accuracy`."""
    by_iglue: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By cell and language, accuracy by IGLUE's definition, to stand beside published numbers; empty without any."""
    spent: Mapping[str, float] = field(default_factory=dict)
    """As `sweep.meter.spent`."""
    notes: tuple[str, ...] = field(default=())


def build(material: Material) -> tuple[Page, list[Plot]]:
    """The page of a report and its figures."""
    rows = {name: table.to_pylist() for name, table in material.findings.items()}
    words = Words.of(material.standing, material.stated)
    mixtures = {cell.name: cell.intermediates for cell in material.standing.cells if len(cell.intermediates) > 1}
    drawn = plots(material.findings, material.trials, mixtures, words)
    by_name = {plot.name: plot for plot in drawn}

    def figures(*names: str) -> tuple[Plot, ...]:
        return tuple(by_name[name] for name in names if name in by_name)

    mixing = [name for name in by_name if name.startswith("mixing_")]
    results = (
        Section(
            name="transfer",
            title=f"Which {words.cell} {'is better in' if words.published else 'helps'} which language",
            words=tuple(filter(None, (_power(material.standing, rows["comparisons"]), _given(material)))),
            plots=figures("transfer_matrix"),
            tables=(_summary(rows, words), _gains(rows["per_language"], words)),
        ),
        Section(
            name="languages",
            title=f"{words.title} per language",
            plots=figures("accuracy", "groups"),
            tables=(_accuracies(rows["per_language"], words), *_published(material, rows, words)),
        ),
        Section(
            name="tests",
            title="Every comparison",
            words=(_of_tests(words),),
            tables=(_comparisons(rows["comparisons"], words), _groups(rows["per_group"]), _mcnemar(rows["mcnemar"])),
            open=False,
        ),
    )
    # Of published numbers no search is known, no cost and no failure.
    runs = (
        Section(
            name="search",
            title="The search",
            plots=figures("optimism", "learning_rates", "history", "expected_best", *mixing, "importances"),
            tables=(_selection(rows["selection"], words), *_importances(rows["importances"])),
            open=False,
        ),
        Section(
            name="selection",
            title="What English dev says of the other languages",
            words=(
                f"The search chooses by {words.english_dev}; the checkpoint of a run is chosen by "
                f"{selector_words(material.stated)}. The oracle chooses by target-language labels; its gap is what the "
                f"rule costs. {_oracle_words(rows)} A blind baseline or a control is no point. Runs of one cell are no "
                "independent points, so a correlation over runs has no interval.",
            ),
            tables=(*_selectors(material.standing, rows["selectors"]), _correlations(rows["correlations"], words)),
            open=False,
        ),
        Section(name="cost", title="What it took", words=_spent(material.spent), tables=(_cost(material.standing),)),
        _failures(material),
    )
    sections = (*results, *(() if words.published else runs), _provenance(material, words))
    page = Page(
        title=f"Sweep {material.standing.sweep}",
        answer=(
            *(
                of_published(material.findings["comparisons"])
                if words.published
                else answer(material.findings["comparisons"], words.cell)
            ),
            *_left_out(rows["per_language"]),
            *_no_better(rows["per_language"]),
        ),
        notes=(*_absences(rows["per_language"]), *material.notes),
        sections=sections,
        cells=tuple(cells_in_order(rows["per_language"])),
        languages=tuple(sorted({row["language"] for row in rows["per_language"]})),
        raw={
            "The definition, as it was run": material.stated,
            **({"Each run": list(material.runs)} if material.runs else {}),
        },
    )
    return page, drawn


def _left_out(rows: Sequence[Row]) -> tuple[str, ...]:
    """The test languages that the means of the answer leave out."""
    said = {one for row in rows if row["is_mean"] for one in row["remark"].split("; ") if one.startswith("mean over ")}
    return tuple(f"Every {one}." for one in sorted(said))


def _no_better(rows: Sequence[Row]) -> tuple[str, ...]:
    """Which of what the answer compares nothing shows to be better than a model that sees no image, or no text."""
    found: dict[str, list[str]] = {}
    spoken = _spoken_of(rows)
    for row in rows:
        if row["language"] == spoken and row["role"] in (CellRole.BASELINE, CellRole.TRANSFER):
            name = f"the baseline {row['cell']}" if row["role"] == CellRole.BASELINE else row["cell"]
            for one in row["remark"].split("; "):
                if one.startswith("no better than "):
                    found.setdefault(one, []).append(name)
    return tuple(
        f"Beware: {listed(cells)} {'is' if len(cells) == 1 else 'are'} {one}, on the {_words(spoken)}."
        for one, cells in found.items()
    )


def _of_tests(words: Words) -> str:
    """What the p-values of the page are of."""
    corrected = (
        "Holm's and Benjamini and Hochberg's corrections are made of the second one, p (cautious), which is never too "
        "small, and within a family: "
    )
    if words.published:
        return (
            "p-values are of Newcombe's interval: one run of each, all answers taken as independent, so nothing is "
            f"known of other seeds. {corrected}all languages, or one of their means."
        )
    return (
        f"p-values are of the paired test over seeds and items. {corrected}all languages of the transfer cells, or one "
        "of their means. McNemar's test takes one seed's two runs as given and says nothing of other seeds."
    )


def _given(material: Material) -> str:
    """What every run has in common, of which no interval speaks."""
    definition = material.stated.get("definition", {})
    shared = [
        *(["its pre-training"] if definition.get("pretrain") else []),
        *(["the settings that its cell's search chose"] if any(c.trials for c in material.standing.cells) else []),
    ]
    return f"Every run is given {' and '.join(shared)}: intervals say nothing of others." if shared else ""


def _power(standing: Standing, rows: Sequence[Row]) -> str:
    """Of the comparisons in single languages with the baseline."""
    single = [
        row
        for row in rows
        if row["smallest_gain"]
        and row["role"] == CellRole.TRANSFER
        and row["against_role"] == CellRole.BASELINE
        and row["language"] in standing.languages
    ]
    if not single:
        return ""
    found = sorted(row["smallest_gain"] for row in single)
    items = {row["items"] for row in single if row["items"]}
    return (
        f"{len(standing.seeds)} seeds and {_range(items)} items per language: at the spread that was seen, the "
        f"smallest gain in one language that four in five such comparisons would find, uncorrected, is {found[0]:.3f} "
        f"to {found[-1]:.3f}, in the middle {median(found):.3f}."
    )


def _range(numbers: Iterable[int]) -> str:
    low, high = min(numbers, default=0), max(numbers, default=0)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _summary(rows: Mapping[str, Sequence[Row]], words: Words) -> PrintedTable:
    spoken = _spoken_of(rows["per_language"])
    accuracy = {row["cell"]: row for row in rows["per_language"] if row["language"] == spoken}
    tested = {(row["cell"], row["against_role"]): row for row in rows["comparisons"] if row["language"] == spoken}
    lines = []
    for cell in cells_in_order(rows["per_language"]):
        base, longer = tested.get((cell, CellRole.BASELINE)), tested.get((cell, CellRole.COMPUTE_MATCHED))
        lines.append(
            {
                **accuracy[cell],
                "p_holm": base["p_holm"] if base else None,
                "q_value": base["q_value"] if base else None,
                "simultaneous": base["gain"] if base else None,
                **{f"simultaneous{end}": base[f"simultaneous{end}"] if base else None for end in ("_low", "_high")},
                **{f"longer{end}": longer[f"gain{end}"] if longer else None for end in ("", "_low", "_high")},
            }
        )
    columns = [
        Column("model" if words.published else "cell", plain("cell"), numeric=False),
        *([] if words.published else [Column("role", lambda row: row["role"].replace("_", " "), numeric=False)]),
        Column(f"{words.score} [95%]", with_interval("accuracy", signed=False)),
        Column("gain [95%]", with_interval("gain", signed=True)),
        Column("gain [95% for its family at once]", with_interval("simultaneous", signed=True)),
        Column("p (Holm)", probability("p_holm")),
        Column("q (BH)", probability("q_value")),
    ]
    if any(row["longer"] is not None for row in lines):
        columns.append(Column("gain over the longer baseline [95%]", with_interval("longer", signed=True)))
    columns += [Column("seeds", plain("seeds")), Column("remark", _remark, numeric=False)]
    of = f"difference from {words.published} of each model" if words.published else "gain of each cell"
    caption = f"{words.title} and {of}, {_words(spoken)}"
    return PrintedTable(name="summary", caption=caption, columns=tuple(columns), rows=tuple(lines))


def _spoken_of(rows: Sequence[Row]) -> str:
    languages = {row["language"] for row in rows}
    return next((name for name in (MEAN_WITHOUT_SOURCE, MEAN) if name in languages), min(languages, default=""))


def _words(language: str) -> str:
    names = {MEAN_WITHOUT_SOURCE: "mean over the languages other than English", MEAN: "mean over the languages"}
    return names.get(language, language_name(language))


def _remark(row: Row) -> str:
    return "; ".join(text for text in (row["absent_reason"], row["remark"]) if text)


def printed_matrix(
    rows: Sequence[Row],
    cells: Sequence[str],
    shows: Callable[[Row], str],
    name: str,
    caption: str,
    *,
    of: str = "language",
) -> PrintedTable:
    """Languages down, cells across; `shows` says what of a row, and `of` what the column `language` holds."""
    known = {(row["language"], row["cell"]): row for row in rows}
    languages = sorted({row["language"] for row in rows}, key=lambda code: (code.startswith(MEAN), code))
    lines = [
        {
            "language": code,
            "shown": code.replace("mean_without_", "mean without "),
            **{f"of {cell}": shows(known[code, cell]) if (code, cell) in known else "." for cell in cells},
        }
        for code in languages
    ]
    columns = (Column(of, plain("shown"), numeric=False), *(Column(c, plain(f"of {c}")) for c in cells))
    return PrintedTable(name=name, caption=caption, columns=columns, rows=tuple(lines))


def _gains(rows: Sequence[Row], words: Words) -> PrintedTable:
    cells = cells_in_order(rows, without=(CellRole.BASELINE,))
    caption = f"{words.gain}; by language and {'model' if words.published else 'cell'}, with 95% intervals"
    return printed_matrix(rows, cells, with_interval("gain", signed=True), "transfer_matrix", caption)


def _accuracies(rows: Sequence[Row], words: Words) -> PrintedTable:
    caption = f"{words.title} by language and {'model' if words.published else 'cell'}, with 95% intervals"
    shows = with_interval("accuracy", signed=False)
    return printed_matrix(rows, cells_in_order(rows), shows, "accuracy", caption)


def _comparisons(rows: Sequence[Row], words: Words) -> PrintedTable:
    columns = (
        Column("model" if words.published else "cell", plain("cell"), numeric=False),
        Column("against", plain("against"), numeric=False),
        Column("language", plain("language"), numeric=False),
        Column("gain [95%]", with_interval("gain", signed=True)),
        Column("p", probability("p_value")),
        Column("p (cautious)", probability("p_cautious")),
        Column("p (Holm)", probability("p_holm")),
        Column("q (BH)", probability("q_value")),
        Column("family", lambda row: f"{_family(row['family'], words)} ({row['family_size']})", numeric=False),
        Column("found 4 in 5 times", share("smallest_gain")),
        Column("seeds", plain("seeds")),
        Column("items", plain("items")),
        Column("absent because", plain("absent_reason"), numeric=False),
    )
    return PrintedTable(
        name="comparisons", caption="Gains, their tests and their corrections", columns=columns, rows=tuple(rows)
    )


def _family(name: str, words: Words) -> str:
    return name.removeprefix(f"{CellRole.TRANSFER}, ") if words.published else name


def _groups(rows: Sequence[Row]) -> PrintedTable:
    columns = (
        Column("cell", plain("cell"), numeric=False),
        Column("grouping", plain("grouping"), numeric=False),
        Column("group", plain("group"), numeric=False),
        Column("languages", plain("languages"), numeric=False),
        Column("accuracy [95%]", with_interval("accuracy", signed=False)),
        Column("gain [95%]", with_interval("gain", signed=True)),
    )
    return PrintedTable(
        name="groups", caption="By family, script and pre-training text", columns=columns, rows=tuple(rows)
    )


def _mcnemar(rows: Sequence[Row]) -> PrintedTable:
    columns = (
        Column("cell", plain("cell"), numeric=False),
        Column("against", plain("against"), numeric=False),
        Column("language", plain("language"), numeric=False),
        Column("seed", plain("seed")),
        Column("better on", plain("only_cell")),
        Column("worse on", plain("only_against")),
        Column("p", probability("p_value")),
    )
    caption = "McNemar's test per seed, of graded answers (F1) the sign test: items that one run answers better"
    return PrintedTable(name="mcnemar", caption=caption, columns=columns, rows=tuple(rows))


def _selection(rows: Sequence[Row], words: Words) -> PrintedTable:
    columns = (
        Column("cell", plain("cell"), numeric=False),
        Column("scored trials", plain("trials")),
        Column("search score", share("search_score")),
        Column("confirmed [95%]", with_interval("confirmed", signed=False)),
        Column("optimism", share("optimism")),
        Column("zero-shot test", share("zero_shot")),
        Column("best seed by test over best by dev", share("seed_gap")),
        Column("absent because", plain("absent_reason"), numeric=False),
    )
    lines = [{**row, "confirmed": row["confirmed_score"]} for row in rows]
    return PrintedTable(
        name="selection",
        caption=f"Search score against confirmed score, {words.english_dev}",
        columns=columns,
        rows=tuple(lines),
    )


def _importances(rows: Sequence[Row]) -> list[PrintedTable]:
    if not rows:
        return []
    columns = (
        Column("cell", plain("cell"), numeric=False),
        Column("parameter", plain("parameter"), numeric=False),
        Column("importance", share("importance")),
        Column("trials", plain("trials")),
        Column("absent because", plain("absent_reason"), numeric=False),
    )
    return [PrintedTable(name="importances", caption="Importance of each parameter", columns=columns, rows=tuple(rows))]


def _selectors(standing: Standing, rows: Sequence[Row]) -> list[PrintedTable]:
    if not rows:
        return []
    columns = (
        Column("selector", plain("selector"), numeric=False),
        Column("runs", plain("runs")),
        Column("reported", lambda row: "yes" if row["is_reported"] else "", numeric=False),
        Column("accuracy in the other languages", share("accuracy")),
        Column("gap to the oracle", share("oracle_gap")),
        Column("largest gap of a run", share("largest_gap")),
    )
    return [
        PrintedTable(
            name="selectors",
            caption="Which of its own checkpoints a run would have reported",
            columns=columns,
            rows=tuple(by_selector(standing, rows)),
        )
    ]


def _correlations(rows: Sequence[Row], words: Words) -> PrintedTable:
    columns = (
        Column("points", plain("over"), numeric=False),
        Column("language", plain("language"), numeric=False),
        Column("how many", plain("points")),
        Column("Pearson [95%]", with_interval("pearson", signed=True)),
        Column("Spearman", share("spearman")),
        Column("English dev chooses", plain("chosen"), numeric=False),
        Column("the oracle", plain("oracle"), numeric=False),
        Column("oracle gap", share("oracle_gap")),
        Column("absent because", plain("absent_reason"), numeric=False),
    )
    return PrintedTable(
        name="correlations",
        caption=f"{words.english_dev} against test {words.score}",
        columns=columns,
        rows=tuple(rows),
    )


def _oracle_words(rows: Mapping[str, Sequence[Row]]) -> str:
    """Which of the gaps are what they say, and which are too large."""
    sees = {row["oracle_sees"] for row in rows["correlations"] if row["oracle_sees"]}
    words = []
    if "half" in sees:
        words.append(
            "Among runs and cells it chooses on one half of the items and is scored on the other, both ways, so that "
            "its gap holds no luck and may come out below 0."
        )
    if "report" in sees:
        words.append(
            "Where no single item has a score, it is scored on what it chose by, and its gap is too large: it would "
            "show one where all are equally good."
        )
    of_runs = {row["oracle_sees"] for row in rows["selectors"]}
    return " ".join([*words, *(told for seen, told in _SEEN.items() if seen in of_runs)])


#: What the oracle chooses by among the checkpoints of a run, by `oracle_sees` of the table `selectors`.
_SEEN = {
    ORACLE_DEV: "Among the checkpoints of a run it chooses by development data in those other languages that have any, "
    "and the whole test is reported.",
    ORACLE_HALF: "Among the checkpoints of a run it chooses by one half of the test items, and the other is reported.",
    "report": "Among the checkpoints of a run it sees the test itself: those gaps are a little too large.",
}


def _published(material: Material, rows: Mapping[str, Sequence[Row]], words: Words) -> list[PrintedTable]:
    """What others published beside the baseline and the cell that English dev likes best: no test label chooses."""
    if not material.published:
        return []
    own = rows["per_language"]
    shown = [row["cell"] for row in own if row["role"] == CellRole.BASELINE][:1]
    scored = {row["cell"]: row["confirmed_score"] for row in rows["selection"] if row["role"] == CellRole.TRANSFER}
    scored = {cell: score for cell, score in scored.items() if score is not None}
    if scored:
        best = max(scored, key=lambda cell: scored[cell])
        shown.append(best)
        rule = f"of this sweep its baseline and {best}, the transfer cell with the best {words.english_dev}"
    else:
        rule = f"of this sweep {words.baseline} alone: no other is chosen, since none has an English dev score"
    if material.by_iglue:
        own = [row for cell in shown for row in _with_means(material, cell, material.by_iglue.get(cell, {}))]
    joined: list[Row] = [{**row, "model": f"{row['cell']} (this sweep)"} for row in own if row["cell"] in shown]
    for model in dict.fromkeys(row["model"] for row in material.published):
        given = {row["language"]: row["accuracy"] for row in material.published if row["model"] == model}
        joined += [{**row, "model": model} for row in _with_means(material, model, given)]
    files = sorted({str(row["file"]) for row in material.published if row.get("file")})
    as_iglue = "; accuracies by IGLUE's definition: an item without a gold label counts, as wrong"
    caption = (
        f"{words.title} beside the published numbers of {', '.join(files) or 'others'}; {rule}. This sweep is tested "
        f"on {material.standing.target_in_words}: {_same_test(material)}" + (as_iglue if material.by_iglue else "")
    )
    return [
        printed_matrix(
            [{**row, "cell": row["model"]} for row in joined],
            list(dict.fromkeys(row["model"] for row in joined)),
            share("accuracy"),
            "published",
            caption,
        )
    ]


def _with_means(material: Material, cell: str, accuracies: Mapping[str, float | None]) -> list[Row]:
    """A row for each language of one model, and for each mean that it has all the languages of."""
    found = dict(accuracies)
    for name, languages in groups(material.standing).items():
        known = [value for one in languages if (value := accuracies.get(one)) is not None]
        if len(languages) > 1 and len(known) == len(languages):
            found[name] = sum(known) / len(known)
    return [{"cell": cell, "language": language, "accuracy": value} for language, value in found.items()]


def _same_test(material: Material) -> str:
    source = material.stated.get("definition", {}).get("target", {}).get("source", {})
    if source.get("type") == LabSource.__name__:
        return "no published number is of that, since it is generated here"
    return "the file does not say of which test its numbers are"


def _spent(spent: Mapping[str, float]) -> tuple[str, ...]:
    """All that was paid for, by the sweep's meter: also what pruned, failed and lost attempts took, and waiting."""
    if not spent:
        return ()
    hours = {"of gangs": "gang_hours", "of machines": "node_hours"}
    found = [f"{spent[name]:.2f} h {what}" for what, name in hours.items() if name in spent]
    clock = f" in {spent['seconds'] / 3600:.2f} h of wall clock" if "seconds" in spent else ""
    return (
        f"Over all runs of this sweep: {', '.join(found)}{clock}, with what came to nothing and with waiting. The "
        "table has finished stages, and what pruned and failed trials trained of their last one as far as they said.",
    )


def _cost(standing: Standing) -> PrintedTable:
    counted: dict[str, Counter[str]] = {}
    seen: set[str] = set()
    for record in standing.records.values():
        for run in record.stage_runs:
            mine = counted.setdefault(str(run["kind"]), Counter())
            mine["uses"] += 1
            mine["reused"] += bool(run["reused"])
            mine["steps"] += run["steps_executed"]
            mine["asked"] += run["steps"]
            mine["stages"] += run["digest"] not in seen
            seen.add(run["digest"])
            if not run["reused"]:
                mine["seconds"] += run.get("seconds", 0)
    if stopped := stopped_steps(standing.records.values()):
        counted["pruned or failed before their end"] = Counter(
            steps=sum(stopped), uses=len(stopped), asked=sum(stopped)
        )
    total = Counter({"stages": 0})
    for mine in counted.values():
        total.update(mine)
    lines = [{"kind": kind, **mine} for kind, mine in counted.items()] + [{"kind": "all", **total}]
    columns = (
        Column("stage", plain("kind"), numeric=False),
        Column("times needed", _count("uses")),
        Column("different ones", _count("stages")),
        Column("found done", _count("reused")),
        Column("steps if none were shared", _count("asked")),
        Column("steps run", _count("steps")),
        Column("hours of gangs on those run here", lambda row: f"{row.get('seconds', 0) / 3600:.2f}"),
    )
    saved = achieved(standing.records.values()).factor
    caption = f"Stages: {saved:.1f} times the steps would have been run without sharing" if saved > 1.05 else "Stages"
    return PrintedTable(name="cost", caption=caption, columns=columns, rows=tuple(lines))


def _count(name: str):
    return lambda row: f"{row.get(name, 0):,}"


def _failures(material: Material) -> Section:
    failed = [row for row in material.trials.to_pylist() if row["state"] == State.FAILED]
    states = Counter(row["state"] for row in material.trials.to_pylist())
    words = ", ".join(f"{number} {state}" for state, number in sorted(states.items())) or "none yet"
    columns = (
        Column("cell", plain("cell"), numeric=False),
        Column("phase", plain("phase"), numeric=False),
        Column("trial", plain("number")),
        Column("seed", plain("seed")),
        Column("why it failed", plain("reason"), numeric=False),
    )
    rest = f", of which the first {FAILURES}; every one is in the file trials.csv beside this page"
    caption = f"Failed trials: {len(failed)}" + (rest if len(failed) > FAILURES else "")
    table = PrintedTable(name="failures", caption=caption, columns=columns, rows=tuple(failed[:FAILURES]))
    return Section(name="failures", title="Trials", words=(f"Trials: {words}.",), tables=(table,) if failed else ())


def _provenance(material: Material, words: Words) -> Section:
    definition = material.stated.get("definition", {})
    lines = [{"what": "target", "value": material.standing.target}]
    if words.published:
        lines += [
            {"what": "file", "value": str(definition["published"])},
            {"what": "test items", "value": str(definition.get("items", "."))},
            {"what": "selected by", "value": "unknown: published numbers, one for each model and language"},
        ]
    else:
        lines += [
            {"what": "confirmation seeds", "value": ", ".join(map(str, material.standing.seeds))},
            {"what": "selected by", "value": f"mean {words.english_dev}; test never seen by the search"},
            {"what": "checkpoint of a run chosen by", "value": selector_words(material.stated)},
            {"what": "search", "value": in_words(definition.get("search"))},
        ]
    lines += [
        *(
            {"what": f"data: {one.task}", "value": f"{one.origin}; licence {one.licence}"}
            for one in sources(definition)
        ),
    ]
    for name in ("python", "system", "processor", "processors", "memory_gib", "gpus", "transfer_sweep", "commit"):
        values = list(dict.fromkeys(str(run.get(name, "")) for run in material.runs))
        if any(values):
            lines.append({"what": name.replace("_", " "), "value": "; ".join(values)})
    for library in sorted({name for run in material.runs for name in run.get("libraries", {})}):
        values = dict.fromkeys(str(run.get("libraries", {}).get(library, "")) for run in material.runs)
        lines.append({"what": library, "value": "; ".join(values)})
    columns = (Column("what", plain("what"), numeric=False), Column("value", plain("value"), numeric=False))
    table = PrintedTable(name="provenance", caption="What made these numbers", columns=columns, rows=tuple(lines))
    return Section(name="provenance", title="Provenance", tables=(table,))


def _absences(rows: Sequence[Row]) -> list[str]:
    """What a reader must know before the numbers: cells without any, and marks that hold for a whole cell."""
    reasons: dict[str, set[str]] = {}
    for row in rows:
        if row["absent_reason"]:
            reasons.setdefault(row["cell"], set()).add(row["absent_reason"])
    return [f"{cell} has absences: {'; '.join(sorted(found))}." for cell, found in sorted(reasons.items())]
