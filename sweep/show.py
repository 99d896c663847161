"""What a person reads on a terminal: a sweep's table, its status, and the sweep while it runs; computes no result."""

from __future__ import annotations

import sys
import textwrap
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search_spaces.transfer_grid import CellRole
from sweep.live import stages_text
from sweep.records import Phase, State, TrialKey, TrialRecord
from sweep.reuse import reuse_text
from sweep.rows import markdown_text, printed_text, remarks, whole_text

if TYPE_CHECKING:
    from sweep.plan import Plan
    from sweep.results import Results
    from sweep.standing import Standing
    from trainables.scores import Done, Progress, Score
    from trainables.stages import Stage

#: The order of cells: what they are compared with first, blind baselines last.
ROLES = [
    CellRole.BASELINE,
    CellRole.COMPUTE_MATCHED,
    CellRole.TRANSFER,
    CellRole.CONTROL,
    CellRole.IMAGE_ONLY,
    CellRole.HYPOTHESIS_ONLY,
]

_LEGEND = (
    "Accuracy in 0..1 over all confirmation seeds. + and - mark a gain or loss over the baseline whose 95% interval "
    "excludes zero, ! no gain over a blind baseline, . an absence."
)

#: A log without a line for longer than this looks dead.
HEARTBEAT_SECONDS = 30.0

#: The rate is taken over this long: a few stages of a small sweep, and short enough to follow a change.
_RATE_SECONDS = 60.0


class Format(StrEnum):
    """How the per-language table is written."""

    TABLE = "table"
    CSV = "csv"
    MARKDOWN = "markdown"
    JSON = "json"


# The table and the status


def table_lines(results: Results, format: Format | str = Format.TABLE, *, width: int | None = None) -> str:
    """The per-language table as text, without a newline at its end.

    `width` is the width of the terminal in columns; None takes that of the standard output, and no limit where that
    is no terminal. A table wider than the terminal is cut into several; nothing is ever shortened. CSV and JSON hold
    all columns of `Results.per_language`.

    Raises:
        ValueError: for an unknown format.
    """
    table = results.per_language()
    if format in (Format.CSV, Format.JSON):
        return whole_text(table, format)
    rows = table.to_pylist()
    head, lines = _grid(rows)
    if Format(format) is Format.MARKDOWN:
        marked = [head, ["---"] + ["---:"] * (len(head) - 1), *lines]
        text = markdown_text([value.strip() for value in line] for line in marked)
        return "\n".join([text, "", _legend(rows), *(f"\n- {note}" for note in _notes(rows))])
    width = _width() if width is None else width
    words = [_legend(rows), *_notes(rows)]
    return "\n".join([*_blocks(head, lines, width), *(textwrap.fill(text, width) if width else text for text in words)])


def published_lines(results: Results, format: Format | str = Format.TABLE, *, width: int | None = None) -> str:
    """One's own cells and the published results on the same task, by the same definition of accuracy.

    Raises:
        LookupError: where the target is no task that anything published is of.
        ValueError: for a format that is no text for people.
    """
    from sweep.literature import ITEMS, beside, by_iglue, comparable
    from trainables.catalogue.task import IGLUE_ACCURACY, ORACLE_HALF

    comparable(results.standing().target)
    if format not in (Format.TABLE, Format.MARKDOWN):
        raise ValueError(f"published results are shown as table or markdown, got {format!r}")
    rows = results.scores().to_pylist()
    others: dict[str, int] = {}
    for row in rows:
        if row["metric"] == IGLUE_ACCURACY and row["role"] == "report" and row["value"] is not None:
            if row["count"] != ITEMS:
                others[row["cell"]] = min(row["count"], others.get(row["cell"], row["count"]))
    head, *lines = beside(by_iglue(rows), others)
    told = "Accuracy by IGLUE's definition: items without a gold label count, as wrong."
    if any(row["split"] == ORACLE_HALF for row in rows):
        told += " One's own is of half the test, the oracle keeping the other; the published results are of all of it."
    elif others:
        told += f" One's own is not of the {ITEMS:,} items of each language that the published results are of."
    if Format(format) is Format.MARKDOWN:
        marked = [head, ["---"] * len(head), *lines]
        return "\n".join([markdown_text(marked), "", told])
    return "\n".join([*_blocks(head, lines, _width() if width is None else width), told])


def status_lines(results: Results) -> str:
    """What is done, what is open and what failed, one line per cell."""
    standing = results.standing()
    head = ["cell", "search", "best English dev", "confirmed", "remark"]
    lines = [_status(standing, cell.name) for cell in standing.cells]
    ending = "complete" if standing.whole else "not complete: `sweep run` goes on with what is missing"
    if standing.ran_out:
        ending = f"the budget has run out ({standing.budget}): a larger one goes on with what is missing"
    said = [text for text in (reuse_text(results), results.unread()) if text]
    return "\n".join([*_blocks(head, lines, 0), *said, f"{standing.sweep}: {ending}"])


def _status(standing: Standing, cell: str) -> list[str]:
    states = [record.state for record in standing.searched(cell)]
    ended = sum(state is not State.OPEN for state in states)
    counts = [f"{states.count(s)} {s}" for s in (State.PRUNED, State.FAILED, State.OPEN) if s in states]
    outside = sum(key.cell == cell for key in standing.outside())
    counts += [f"{outside} of an earlier space"] if outside else []
    best = standing.leaders().get(cell)
    return [
        cell,
        f"{ended}/{standing.cell(cell).trials}" + (f" ({', '.join(counts)})" if counts else ""),
        f"{best.score:.3f} (trial {best.key.number})" if best else ".",
        f"{len(standing.confirmations(cell))}/{len(standing.seeds)}",
        "; ".join(words for words in (standing.missing(cell), standing.kept(cell), _withheld(standing, cell)) if words),
    ]


def _withheld(standing: Standing, cell: str) -> str:
    return f"no further trial: {standing.withheld[cell]}" if cell in standing.withheld else ""


def _grid(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and lines of cells × languages, with the gain of the mean, or of the one language, at the end."""
    languages = sorted({row["language"] for row in rows}, key=lambda name: (name.startswith("mean"), name))
    gained = "mean" if "mean" in languages else languages[-1] if languages else ""
    by_key = {(row["cell"], row["language"]): row for row in rows}
    cells = sorted({row["cell"]: row["role"] for row in rows}.items(), key=lambda item: (ROLES.index(item[1]), item[0]))
    shown = [name.replace("mean_without_", "mean without ") for name in languages]
    lines = []
    for cell, _ in cells:
        values = [_accuracy(by_key[cell, name]) if (cell, name) in by_key else "." for name in languages]
        lines.append([cell, *values, _gain(by_key.get((cell, gained)))])
    return ["cell", *shown, f"gain of {gained} [95%]"], lines


def _accuracy(row: Mapping[str, Any]) -> str:
    if row["accuracy"] is None:
        return ". "
    mark = "!" if "no better than" in row["remark"] else " "
    if row["gain_low"] is not None and (row["gain_low"] > 0 or row["gain_high"] < 0):
        mark = ("+" if row["gain_low"] > 0 else "-") if mark == " " else mark
    return f"{row['accuracy']:.3f}{mark}"


def _gain(row: Mapping[str, Any] | None) -> str:
    if row is None or row["gain"] is None:
        return "."
    if row["gain_low"] is None:
        return f"{row['gain']:+.3f}"
    return f"{row['gain']:+.3f} [{row['gain_low']:+.3f}, {row['gain_high']:+.3f}]"


def _notes(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the marks stand for, by cell."""
    by_cell: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_cell.setdefault(row["cell"], []).append(row)
    return [f"{cell}: {remark}" for cell, mine in by_cell.items() for remark in remarks(mine)]


def _legend(rows: Sequence[Mapping[str, Any]]) -> str:
    """The marks, and how many of them chance alone would make."""
    tested = sum(row["gain_low"] is not None for row in rows)
    if tested < 2:
        return _LEGEND
    return (
        f"{_LEGEND} + and - are not corrected for the {tested} gains that are tested here, of which one in twenty "
        "would be marked without any effect; `sweep report` has the corrections."
    )


def _blocks(head: Sequence[str], lines: Sequence[Sequence[str]], width: int) -> list[str]:
    """The grid as text, in as many tables as the width asks for, the first column in each; 0 is no limit."""
    sizes = [max(len(line[place]) for line in [head, *lines]) + 2 for place in range(len(head))]
    parts: list[list[int]] = [[]]
    for place in range(1, len(head)):
        if parts[-1] and width and sizes[0] + sum(sizes[p] for p in parts[-1]) + sizes[place] > width:
            parts.append([])
        parts[-1].append(place)
    return [
        _text([head[0], *(head[p] for p in part)], [[ln[0], *(ln[p] for p in part)] for ln in lines]) for part in parts
    ]


def _text(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    plain = not (sys.stdout.encoding or "ascii").lower().startswith("utf")
    table = Table(box=box.ASCII2 if plain else box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    for place, name in enumerate(head):
        left = place == 0 or name == "remark"
        table.add_column(Text(name), justify="left" if left else "right", no_wrap=True)
    for line in lines:
        table.add_row(*(Text(value) for value in line))
    return printed_text(table) + "\n"


def _width() -> int:
    return Console().width if sys.stdout.isatty() else 0


# The sweep while it runs


@dataclass(kw_only=True)
class _Cell:
    planned: int
    ended: set[TrialKey] = field(default_factory=set)
    best: float | None = None
    failed: int = 0
    activity: dict[TrialKey, str] = field(default_factory=dict)

    def count(self, record: TrialRecord) -> None:
        """Take in a trial that has ended."""
        self.activity.pop(record.key, None)
        if record.key in self.ended or record.state is State.OPEN:
            return
        self.ended.add(record.key)
        self.failed += record.state is State.FAILED
        if record.key.phase is Phase.SEARCH and record.state is State.FINISHED and record.score is not None:
            self.best = max(record.score, self.best if self.best is not None else record.score)


class Display:
    """A watcher that shows the running sweep: a live table on a terminal, else a line per trial and a heartbeat.

    `records` are the trials that an earlier run left. The display begins with the first trial, or with `start`, and
    ends with `close`; while it is on, a line or a picture is never older than `heartbeat_seconds`. Progress counts
    the optimiser steps of the plan; steps that were found done or that pruning made needless count as done, but not
    for the rate.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        console: Console | None = None,
        records: Iterable[TrialRecord] = (),
        clock: Callable[[], float] = time.monotonic,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self.console = console or Console()
        self._name, self._steps_planned = plan.sweep.name, plan.steps
        self._cells = {
            cell.cell.name: _Cell(planned=cell.search_trials + cell.confirmation_trials) for cell in plan.cells
        }
        self._clock, self._heartbeat_seconds = clock, heartbeat_seconds
        self._steps: dict[str, int] = {}
        self._saved = 0
        self._executed = 0
        self._samples: deque[tuple[float, int]] = deque()
        self._begun: dict[TrialKey, float] = {}
        self._stages = ""
        self._last_line = 0.0
        self._lock = threading.Lock()
        self._live: Live | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        for record in records:
            self._earlier(record)

    # Nothing is printed while the lock is held: the live table's thread holds rich's lock when it asks for a picture.

    def start(self) -> None:
        """Begin to show; again is nothing."""
        if self._thread is not None:
            return
        self._samples.append((self._clock(), 0))
        self._line(f"sweep {self._name}: {self._summary()}")
        if self.console.is_terminal:
            self._live = Live(get_renderable=self.picture, console=self.console, refresh_per_second=4)
            self._live.start()
        self._thread = threading.Thread(target=self._beat, name="sweep display", daemon=True)
        self._thread.start()

    def started(self, record: TrialRecord, path: Sequence[Stage]) -> None:
        """A trial begins, or begins to wait for a gang."""
        self.start()
        with self._lock:
            self._begun[record.key] = self._clock()
            self._does(record.key, f"waits for {_stage(path[0])}")

    def progressed(self, record: TrialRecord, place: int, path: Sequence[Stage], progress: Progress) -> None:
        """A stage of a trial has come to a step."""
        with self._lock:
            self._reach(path[place].digest, progress.step, executed=True)
            self._does(record.key, f"{_stage(path[place])}, step {progress.step} of {path[place].steps}")

    def stage_done(self, record: TrialRecord, place: int, path: Sequence[Stage], done: Done) -> None:
        """A stage has ended, or was found done."""
        with self._lock:
            self._reach(done.digest, path[place].steps, executed=not done.reused)
            if place + 1 < len(path):
                self._does(record.key, f"waits for {_stage(path[place + 1])}")

    def ended(self, record: TrialRecord, path: Sequence[Stage], scores: Sequence[Score]) -> None:
        """A trial has finished, failed or been pruned."""
        with self._lock:
            self._cell(record.key).count(record)
            self._saved += record.steps_saved
            seconds = self._clock() - self._begun.pop(record.key, self._clock())
            text = f"{self._trials()}  {_trial(record.key)} {record.state} after {_duration(seconds)}"
        if record.score is not None:
            text += f", English dev {record.score:.3f}"
        if record.reason:
            text += f": {record.reason}"
        if self._live is None or record.state is State.FAILED:
            self._line(text)

    def tick(self) -> None:
        """Print a heartbeat if the last line is too old; on a terminal the picture is the heartbeat."""
        if self._live is not None or self._clock() - self._last_line < self._heartbeat_seconds:
            return
        with self._lock:
            doing = [f"{_trial(key)}: {what}" for cell in self._cells.values() for key, what in cell.activity.items()]
            more = f" and {len(doing) - 3} more" if len(doing) > 3 else ""
            text = f"{self._summary()}; " + ("; ".join(doing[:3]) + more if doing else "no trial is open")
        self._line(text)

    def close(self) -> None:
        """Show the last state and stop; again is nothing."""
        if self._thread is None or self._stopped.is_set():
            return
        self._stopped.set()
        self._thread.join(timeout=5)
        if self._live is not None:
            self._live.stop()
        self._live = None
        self._line(f"sweep {self._name}: {self._summary()}")

    def picture(self) -> RenderableType:
        """The live table, and the bar of optimiser steps below it."""
        with self._lock:
            table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, expand=False)
            table.add_column("cell", no_wrap=True)
            table.add_column("trials", justify="right", no_wrap=True)
            table.add_column("English dev", justify="right", no_wrap=True)
            table.add_column("now")
            for name, cell in self._cells.items():
                best = f"{cell.best:.3f}" if cell.best is not None else "."
                trials = f"{len(cell.ended)}/{cell.planned}"
                table.add_row(Text(name), trials, best, Text(self._state(cell)))
            done = self._done()
            bar = ProgressBar(total=max(1, self._steps_planned), completed=done, width=40)
            stages = [Text(self._stages)] if self._stages else []
            return Group(table, bar, Text(self._summary()), *stages)

    # Counting

    def pace(self) -> dict[str, float | None]:
        """Steps done and planned, steps per second, and the seconds left where that can be told."""
        with self._lock:
            done, rate = self._done(), self._rate()
        left = (self._steps_planned - done) / rate if rate > 0 else None
        return {
            "steps_done": done,
            "steps_planned": self._steps_planned,
            "steps_per_second": rate,
            "seconds_left": left,
        }

    def counted(self, said: Mapping[str, Any]) -> None:
        """What the dispatcher says of its stages, for the last line of the picture."""
        self._stages = stages_text(said)

    def say(self, text: str) -> None:
        """A line above the table."""
        self._line(text)

    def _earlier(self, record: TrialRecord) -> None:
        if record.key.cell not in self._cells:
            return
        self._cell(record.key).count(record)
        self._saved += record.steps_saved
        for run in record.stage_runs:
            self._steps[run["digest"]] = run["steps"]

    def _cell(self, key: TrialKey) -> _Cell:
        return self._cells.setdefault(key.cell, _Cell(planned=0))

    def _does(self, key: TrialKey, what: str) -> None:
        self._cell(key).activity[key] = what

    def _reach(self, digest: str, step: int, *, executed: bool) -> None:
        """Two trials that wait for one stage tell of the same steps: a digest counts once."""
        before = self._steps.get(digest, 0)
        if step <= before:
            return
        self._steps[digest] = step
        if executed:
            self._executed += step - before
            self._samples.append((self._clock(), self._executed))

    def _done(self) -> int:
        return min(self._steps_planned, sum(self._steps.values()) + self._saved)

    def _rate(self) -> float:
        """Optimiser steps per second, all gangs together; 0 before the first."""
        now = self._clock()
        while len(self._samples) > 2 and now - self._samples[1][0] > _RATE_SECONDS:
            self._samples.popleft()
        if not self._samples:
            return 0.0
        then, before = self._samples[0]
        return (self._executed - before) / (now - then) if now > then else 0.0

    # Words

    def _state(self, cell: _Cell) -> str:
        failed = [f"{cell.failed} failed"] if cell.failed else []
        doing = [f"{key.phase} {key.number}: {what}" for key, what in cell.activity.items()]
        if not doing:
            doing = ["done" if len(cell.ended) >= cell.planned else "waits for a gang"]
        return "; ".join(doing + failed)

    def _trials(self) -> str:
        cells = self._cells.values()
        return f"{sum(len(cell.ended) for cell in cells)}/{sum(cell.planned for cell in cells)} trials"

    def _summary(self) -> str:
        done, rate = self._done(), self._rate()
        words = [self._trials(), f"{done:,}/{self._steps_planned:,} steps"]
        if rate > 0:
            words.append(f"{rate:.1f} steps/s")
            if done < self._steps_planned:
                words.append(f"about {_duration((self._steps_planned - done) / rate)} left")
        failed = sum(cell.failed for cell in self._cells.values())
        return ", ".join([*words, f"{failed} failed"] if failed else words)

    def _line(self, text: str) -> None:
        self._last_line = self._clock()
        self.console.print(Text(text), soft_wrap=True)

    def _beat(self) -> None:
        while not self._stopped.wait(min(1.0, self._heartbeat_seconds)):
            self.tick()


def _trial(key: TrialKey) -> str:
    return f"{key.cell} {key.phase} {key.number}"


def _stage(stage: Stage) -> str:
    """As `train nli+qa` or `evaluate xvnli`."""
    return f"{stage.kind} {'+'.join(task.name for task in stage.tasks)}"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
