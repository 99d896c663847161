"""What TensorBoard shows beside numbers: the transfer matrix, example items, the definition; computes none of it."""

from __future__ import annotations

import io
import json
import logging
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search_spaces.transfer_grid import CellRole
from sweep.event_files import EventFiles
from sweep.records import Phase, TrialRecord
from sweep.selectors import selector_words
from sweep.tables import SOURCE_LANGUAGE
from sweep.tensorboard import image_summary, text_summary
from trainables.catalogue.task import Task
from trainables.faults import Invalid

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.fs as pafs

    from sweep.results import Results

_log = logging.getLogger(__name__)

#: The text of the example items. TensorBoard lets one tag of a run be a text or an image, not both.
WORDS_TAG = "examples_in_words"

#: The run of the pictures. Not that of the numbers: TensorBoard reads a run's files one after the other, and would look
#: no more at a file of numbers that grows beside a newer one of pictures.
PICTURES = "sweep_pictures"

#: Example items that are shown.
ITEMS = 6

#: Languages whose answers fit beside a picture.
LANGUAGES = 8

#: Drawing may take this share of a sweep's time, and pictures are drawn when the sweep is older by this share: every
#: one of them is kept.
SHARE_OF_TIME, SHARE_OF_AGE = 0.05, 0.1

#: How long the end of a sweep waits for its last pictures.
_LAST_SECONDS = 60.0

#: Characters of a definition that are shown; the file beside the ledger has it whole.
_SHOWN_CHARACTERS = 20_000

#: A space that no line is broken at.
_TOGETHER = "\u00a0"

#: Columns whose text is what an item says, in the order in which it is read.
_WORDS = ("premise", "context", "question", "hypothesis", "endings", "tokens", "text")


class Painter:
    """Draws the pictures anew after confirmations, in a thread of its own, and once more at the end.

    A watcher of a running sweep; what goes wrong costs the pictures alone and is told once.
    """

    def __init__(
        self,
        results: Results,
        filesystem: pafs.FileSystem,
        logdir: str,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._stopped = stopped
        self._results, self._files = results, EventFiles(filesystem, logdir)
        self._changed, self._closed = threading.Event(), threading.Event()
        self._step, self._warned = 0, False
        self._thread = threading.Thread(target=self._go_on, name="sweep pictures", daemon=True)
        self._thread.start()

    def ended(self, record: TrialRecord, path: Sequence[Any], scores: Sequence[Any]) -> None:
        """A confirmation changes what the pictures show."""
        if record.key.phase is Phase.CONFIRMATION:
            self._changed.set()

    def close(self) -> None:
        """Draw what has not been drawn yet, unless the sweep was stopped, and end."""
        self._closed.set()
        self._thread.join(timeout=_LAST_SECONDS)

    def started(self, *what: Any) -> None: ...
    def progressed(self, *what: Any) -> None: ...
    def stage_done(self, *what: Any) -> None: ...

    def _go_on(self) -> None:
        began, pause = time.monotonic(), 1.0
        closed = False
        while not closed:
            closed = self._closed.wait(pause)
            if not self._changed.is_set() or (closed and self._stopped()):
                continue
            self._changed.clear()
            drawing = time.monotonic()
            self._paint()
            took, elapsed = time.monotonic() - drawing, time.monotonic() - began
            pause = max(took / SHARE_OF_TIME, elapsed * SHARE_OF_AGE)

    def _paint(self) -> None:
        self._step += 1
        try:
            for summary in pictures(self._results):
                self._files.add(PICTURES, summary, self._step)
            self._files.close(PICTURES)
        except Exception as error:  # whatever it is, the sweep goes on without its pictures
            if not self._warned:
                _log.warning("the pictures for TensorBoard could not be drawn: %s", error)
            self._warned = True


def pictures(results: Results) -> Iterator[Any]:
    """Summaries of the transfer matrix and of example items, where there is something to show."""
    from sweep.per_language import per_language
    from sweep.report.figures import matrix
    from sweep.report.words import Words

    standing = results.standing()
    words = Words.of(standing, results.stated())
    drawn = matrix(per_language(standing, results.answers(standing)).to_pylist(), words)
    if drawn is not None:
        yield image_summary("transfer_matrix", drawn.png())
    found = examples(results)
    if isinstance(found, str):
        yield text_summary(WORDS_TAG, found)
    else:
        text, picture = found
        yield text_summary(WORDS_TAG, text)
        if picture is not None:
            yield image_summary("examples", picture)


# Example items


def examples(results: Results) -> str | tuple[str, bytes | None]:
    """Items of the target's test split with the answers of the baseline and of the best other cell, one run of each.

    As a Markdown table with the words of every language, and as a picture with the English words and the images where
    the target has any; or the reason why there are none.
    """
    definition = results.definition()
    if definition is None:
        return f"No examples: {results.unread() or 'no definition is stated'}."
    said = dict(_answers(results))
    if not said:
        return "No examples yet: no confirmed run has stored its answers."
    try:
        rows = _rows(results, definition.target, _spread(next(iter(said.values())), SOURCE_LANGUAGE))
    except (Invalid, LookupError, OSError) as error:
        return f"No examples: the test split cannot be read on this machine ({error})."
    shown = [item for language, item in rows if language == SOURCE_LANGUAGE]
    if not shown:
        return "No examples: the stored answers are to items that the test split does not have."
    return _table(shown, rows, said), _drawn(shown, rows, said)


Answers = Mapping[tuple[str, str], tuple[str | None, str]]
"""Gold and predicted answer by language and item."""


def _answers(results: Results) -> Iterator[tuple[str, Answers]]:
    """By cell, the answers of its first confirmed run: the baseline's, and those of the best other cell."""
    standing = results.standing()
    rows = results.per_language().to_pylist()
    scored = [row for row in rows if row["role"] == CellRole.TRANSFER and row["accuracy"] is not None]
    means = [row for row in scored if row["is_mean"]] or scored
    best = max(means, key=lambda row: row["accuracy"])["cell"] if means else ""
    baseline = standing.baseline.name if standing.baseline else ""
    for cell in (baseline, best):
        runs = standing.confirmations(cell) if cell else ()
        table = results.answers(standing).stored_predictions(runs[0].evaluation) if runs else None
        if table is not None:
            mine = table.filter(table["task"].to_numpy(zero_copy_only=False) == standing.target).to_pylist()
            yield cell, {(row["language"], row["item_id"]): (row["gold"], row["predicted"]) for row in mine}


def _rows(results: Results, target: Task, items: Sequence[str]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Rows of some items of the test split by language and item, in the order of the items."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from trainables.data.reading import read
    from trainables.store import cache_folder

    cache = cache_folder(results.storage)
    table: pa.Table = read(target, "test", None, cache)
    few = table.filter(pc.is_in(table["id"], pa.array(items, table["id"].type))).to_pylist()
    return {(row["language"], row["id"]): row for row in sorted(few, key=lambda row: items.index(row["id"]))}


def _spread(answers: Answers, language: str) -> list[str]:
    """Some items of a language, evenly spaced over all of them."""
    ids = sorted(item for code, item in answers if code == language) or sorted({item for _, item in answers})
    return ids[:: max(1, len(ids) // ITEMS)][:ITEMS]


def _words(row: Mapping[str, Any]) -> str:
    parts = [row[name] for name in _WORDS if row.get(name)]
    return " / ".join(" ".join(part) if isinstance(part, list) else str(part) for part in parts)


def _table(items: Sequence[str], rows: Mapping[tuple[str, str], Mapping[str, Any]], said: Mapping[str, Answers]) -> str:
    lines = ["| item | language | words | gold | " + " | ".join(said) + " |", "|---" * (4 + len(said)) + "|"]
    for item in items:
        for language in sorted(code for code, one in rows if one == item):
            answers = [answers.get((language, item)) for answers in said.values()]
            gold = next((one[0] for one in answers if one is not None), None)
            marks = [_marked(one) for one in answers]
            words = textwrap.shorten(_words(rows[language, item]), 300, placeholder=" …").replace("|", "\\|")
            lines.append(f"| {item} | {language} | {words} | {gold or '.'} | {' | '.join(marks)} |")
    return "\n".join(lines)


def _marked(answer: tuple[str | None, str] | None) -> str:
    if answer is None:
        return "."
    gold, predicted = answer
    return f"{predicted} {'✓' if gold == predicted else '✗'}"


def _drawn(
    items: Sequence[str], rows: Mapping[tuple[str, str], Mapping[str, Any]], said: Mapping[str, Answers]
) -> bytes | None:
    """Each item's image beside its English words and the answers in some languages; None where items have no image."""
    if not all("image" in rows[SOURCE_LANGUAGE, item] for item in items):
        return None
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.5 * len(items)), layout="constrained")
    with matplotlib.rc_context({"text.parse_math": False, "font.size": 8}):
        for axes, item in zip(figure.subplots(len(items), 2, width_ratios=(1, 4), squeeze=False), items, strict=True):
            row = rows[SOURCE_LANGUAGE, item]
            for place in axes:
                place.set_axis_off()
            if row["image"] is not None:
                axes[0].imshow(_opened(row["image"]))
            axes[1].text(0, 1, "\n".join(_lines(item, row, said)), va="top", transform=axes[1].transAxes)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, facecolor="white")
    return buffer.getvalue()


def _opened(image: Mapping[str, Any]) -> Any:
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(image["bytes"]) if image["bytes"] is not None else image["path"]) as opened:
        return np.asarray(opened.convert("RGB").resize((160, 160)) if max(opened.size) > 512 else opened.convert("RGB"))


def _lines(item: str, row: Mapping[str, Any], said: Mapping[str, Answers]) -> Iterator[str]:
    yield from textwrap.wrap(f"{item}: {_words(row)}", 105)[:3]
    for cell, answers in said.items():
        languages = sorted((code for code, one in answers if one == item), key=lambda code: (code != "en", code))
        gold = next((answers[code, item][0] for code in languages), None)
        marks = [f"{code} {_marked(answers[code, item])}" for code in languages[:LANGUAGES]]
        told = "  ".join(mark.replace(" ", _TOGETHER) for mark in marks)
        yield from textwrap.wrap(f"{cell} (gold {gold or 'none'}):  {told}", 105)


# The definition


def definition_text(stated: Mapping[str, Any], power: str = "") -> str:
    """A sweep's `definition.json` in Markdown: what is compared with what, and all of it as it was written."""
    cells = "\n".join(
        f"| {cell['name']} | {cell['role']} | {' + '.join(cell['intermediates']) or '–'} | {cell['trials']} |"
        for cell in stated["cells"]
    )
    whole = json.dumps(stated.get("definition", {}), indent=1, sort_keys=True, ensure_ascii=False)
    cut = whole if len(whole) <= _SHOWN_CHARACTERS else f"{whole[:_SHOWN_CHARACTERS]}\n… (definition.json has it whole)"
    return "\n\n".join(
        part
        for part in (
            f"# {stated['name']}",
            f"Target **{stated['target']}**, tested in {', '.join(stated['languages'])}; confirmed with the seeds "
            f"{', '.join(map(str, stated['seeds']))}; searched by English development accuracy, checkpoints chosen by "
            f"{selector_words(stated)}.",
            power,
            "| cell | role | intermediate tasks | search trials |\n|---|---|---|---|\n" + cells,
            f"Searched: {', '.join(stated['parameters']) or 'nothing'}.",
            f"```\n{cut}\n```",
        )
        if part
    )
