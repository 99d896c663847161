"""Claims about what a person reads: nothing is cut off, nothing is silent, no absence looks like a number."""

from __future__ import annotations

import io
import json
import threading
import time

import pytest
from rich.console import Console

from sweep.plan import plan
from sweep.records import Phase, State, TrialKey, TrialRecord
from sweep.results import Results
from sweep.rows import remarks
from sweep.show import Display, Format, status_lines, table_lines
from tests.libraries.test_tensorboard import PATH, _sweep
from tests.pure import fake_sweep as fake
from trainables.scores import Done, Progress


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("storage"))
    fake.write(folder)
    return Results.open(folder)


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Screen:
    """A console that writes into a text."""

    def __init__(self, *, terminal: bool) -> None:
        self.file = io.StringIO()
        self.console = Console(file=self.file, force_terminal=terminal, width=100)

    @property
    def lines(self) -> list[str]:
        return self.file.getvalue().splitlines()


def _record(cell: str, number: int, state: State = State.OPEN, **more) -> TrialRecord:
    key = TrialKey(cell=cell, phase=Phase.SEARCH, number=number)
    return TrialRecord(key=key, values={}, draws={}, seed=0, stages=(), state=state, **more)


def _report(stage, step: int) -> Progress:
    return Progress(digest=stage.digest, step=step)


def _display(screen: Screen, clock=time.monotonic, **more) -> Display:
    return Display(plan(_sweep()), console=screen.console, clock=clock, **more)


# The table


def test_the_table_has_a_line_per_cell_with_accuracies_and_the_gain_of_the_mean(results):
    lines = table_lines(results, width=200).splitlines()
    assert lines[0].split() == ["cell", *fake.LANGUAGES, "mean", "mean", "without", "en", "gain", "of", "mean", "[95%]"]
    assert [line.split()[0] for line in lines[2:6]] == ["none", "broken", "nli", "image_only"]
    row = results.per_language(cells=["nli"], languages=["mean"]).to_pylist()[0]
    assert f"{row['accuracy']:.3f}+" in lines[4]
    assert f"{row['gain']:+.3f} [{row['gain_low']:+.3f}, {row['gain_high']:+.3f}]" in lines[4]


def test_an_absent_cell_shows_no_digit_and_its_reason_stands_below(results):
    lines = table_lines(results, width=200).splitlines()
    broken = next(line for line in lines if line.startswith("broken"))
    assert not any(character.isdigit() for character in broken)
    assert "broken: no search trial has finished; one failed: the loss was no number at step 7" in lines


def test_a_cell_that_a_blind_baseline_equals_is_marked_with_its_languages_below(results):
    text = table_lines(results, width=200)
    assert "nli: no better than image_only (th)" in text
    assert "!" in next(line for line in text.splitlines() if line.startswith("nli"))


def test_what_holds_in_some_languages_is_said_with_them_and_each_reason_once():
    usual = {"cell": "nli", "baseline": "none", "accuracy": 0.5, "absent_reason": "", "gain_absent_reason": ""}
    rows = [
        {**usual, "language": "en", "remark": "a text proxy"},
        {
            **usual,
            "language": "sw",
            "remark": "a text proxy; no better than image_only",
            "gain_absent_reason": "no pair",
        },
        {**usual, "language": "th", "remark": "a text proxy; no better than image_only", "absent_reason": "no score"},
    ]
    said = ["a text proxy", "no better than image_only (sw, th)", "no pair (sw)", "no score (th)"]
    assert remarks(rows) == said
    assert remarks([{**usual, "language": "en", "remark": ""}]) == []


@pytest.mark.parametrize("format", ["table", "markdown"])
def test_the_marks_are_said_to_be_uncorrected_with_how_many_chance_makes(results, format):
    tested = sum(row["gain_low"] is not None for row in results.per_language().to_pylist())
    text = table_lines(results, format)
    assert f"not corrected for the {tested} gains that are tested here, of which one in twenty would be marked" in text
    assert "`sweep report` has the corrections" in text and tested > 2


def test_a_narrow_terminal_gets_several_tables_and_loses_no_value(results):
    wide, narrow = table_lines(results, width=200), table_lines(results, width=50)
    values = {word for word in wide.split() if word.strip("+-!").replace(".", "").isdigit()}
    assert values <= set(narrow.split())
    assert max(len(line) for line in narrow.splitlines()) <= 50


def test_a_table_that_is_piped_is_never_cut(results):
    assert max(len(line) for line in table_lines(results).splitlines()) > 80


def test_markdown_has_the_same_values(results):
    lines = table_lines(results, Format.MARKDOWN).splitlines()
    assert lines[1].startswith("| --- | ---: |")
    assert all(line.count("|") == lines[0].count("|") for line in lines[:6])


def test_csv_and_json_hold_every_column(results):
    table = results.per_language()
    rows = json.loads(table_lines(results, "json"))
    assert rows == table.to_pylist()
    head = table_lines(results, "csv").splitlines()[0]
    assert head.replace('"', "").split(",") == table.column_names


def test_an_unknown_format_is_refused(results):
    with pytest.raises(ValueError, match="'html' is not a valid Format"):
        table_lines(results, "html")


def test_the_status_counts_trials_and_confirmations_per_cell(results):
    lines = status_lines(results).splitlines()
    assert next(line for line in lines if line.startswith("nli")).split()[:4] == ["nli", "3/1", "(1", "pruned)"]
    assert next(line for line in lines if line.startswith("broken")).endswith("the loss was no number at step 7")
    assert lines[-1] == "fake: not complete: `sweep run` goes on with what is missing"


# While it runs


def test_without_a_terminal_each_ended_trial_is_a_line():
    screen, clock = Screen(terminal=False), Clock()
    display = _display(screen, clock)
    display.started(_record("none", 0), PATH)
    clock.seconds = 75
    display.ended(_record("none", 0, State.FINISHED, score=0.6123), PATH, ())
    display.ended(_record("nli", 0, State.FAILED, reason="the loss was no number"), PATH, ())
    display.close()
    assert "1/14 trials  none search 0 finished after 1 min 15 s, English dev 0.612" in screen.lines
    assert "2/14 trials  nli search 0 failed after 0 s: the loss was no number" in screen.lines


def test_without_a_terminal_a_long_stage_is_not_silent():
    screen, clock = Screen(terminal=False), Clock()
    display = _display(screen, clock, heartbeat_seconds=30)
    display.started(_record("nli", 0), PATH)
    before = len(screen.lines)
    clock.seconds = 29
    display.tick()
    assert len(screen.lines) == before
    clock.seconds = 31
    display.progressed(_record("nli", 0), 0, PATH, _report(PATH[0], 31))
    display.tick()
    display.close()
    assert screen.lines[before].endswith("; nli search 0: train nli+qa, step 31 of 40")
    assert "31/1,680 steps, 1.0 steps/s, about 27 min 29 s left" in screen.lines[before]


def test_the_heartbeat_beats_by_itself():
    screen = Screen(terminal=False)
    display = _display(screen, heartbeat_seconds=0.05)
    display.start()
    deadline = time.monotonic() + 5
    while len(screen.lines) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    display.close()
    assert "no trial is open" in screen.lines[1]


def test_a_stage_that_two_trials_wait_for_counts_once():
    screen, clock = Screen(terminal=False), Clock()
    display = _display(screen, clock)
    for number in (0, 1):
        display.started(_record("nli", number), PATH)
        display.progressed(_record("nli", number), 0, PATH, _report(PATH[0], 20))
        display.stage_done(
            _record("nli", number), 0, PATH, Done(digest=PATH[0].digest, steps_executed=40, reused=number == 1)
        )
    display.close()
    assert "40/1,680 steps" in screen.lines[-1]


def test_what_an_earlier_run_left_counts_as_done_but_not_for_the_rate():
    screen, clock = Screen(terminal=False), Clock()
    earlier = _record("none", 0, State.PRUNED, score=0.4, steps_saved=60, stage_runs=({"digest": "d", "steps": 100},))
    display = _display(screen, clock, records=[earlier])
    display.start()
    clock.seconds = 10
    display.close()
    assert screen.lines[-1] == "sweep fake: 1/14 trials, 160/1,680 steps"


def test_a_terminal_shows_cells_best_score_and_what_each_trial_does():
    screen = Screen(terminal=True)
    display = _display(screen)
    display.started(_record("nli", 0), PATH)
    display.ended(_record("none", 0, State.FINISHED, score=0.6), PATH, ())
    display.stage_done(_record("nli", 0), 0, PATH, Done(digest=PATH[0].digest, steps_executed=40, reused=False))
    drawn = Screen(terminal=False)
    display.counted({"executed": 3, "reused": 12, "queued": 1, "cancelled": 0, "duplicate": 0, "gangs": []})
    drawn.console.print(display.picture())
    display.close()
    assert drawn.lines[-1] == "stages 3 executed, 12 reused, 1 queued, 0 cancelled, 0 duplicate"
    words = [line.split() for line in drawn.lines]
    assert ["none", "1/7", "0.600", "waits", "for", "a", "gang"] in words
    assert ["nli", "0/7", ".", "search", "0:", "waits", "for", "train", "lab_visual_nli"] in words


def test_a_terminal_keeps_the_reason_of_a_failure_above_the_live_table():
    screen = Screen(terminal=True)
    display = _display(screen)
    display.started(_record("nli", 0), PATH)
    display.ended(_record("nli", 0, State.FAILED, reason="out of memory"), PATH, ())
    display.close()
    assert "nli search 0 failed after 0 s: out of memory" in screen.file.getvalue()


def test_events_and_redrawing_do_not_lock_each_other_out():
    screen = Screen(terminal=True)
    display = _display(screen)

    def feed() -> None:
        for number in range(60):
            display.started(_record("nli", number), PATH)
            display.progressed(_record("nli", number), 0, PATH, _report(PATH[0], number % 40))
            display.ended(_record("nli", number, State.FAILED, reason="no"), PATH, ())

    def redraw() -> None:
        while feeding.is_alive():
            if display._live is not None:
                display._live.refresh()

    feeding = threading.Thread(target=feed, daemon=True)
    redrawing = threading.Thread(target=redraw, daemon=True)
    feeding.start()
    redrawing.start()
    feeding.join(timeout=20)
    assert not feeding.is_alive(), "the events wait for the picture and the picture waits for the events"
    redrawing.join(timeout=5)
    display.close()


def test_a_display_that_never_began_closes_in_silence():
    screen = Screen(terminal=False)
    display = _display(screen)
    display.close()
    assert screen.lines == []
