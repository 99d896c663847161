"""A running sweep as TensorBoard runs, one folder per trial and one for all; watches and changes nothing.

TensorBoard asks for the curves of every run that it is shown: with three thousand runs its page of curves stood still
for half a minute. So at most `RUNS` folders of search trials stay, those of the best of each cell, and the run `sweep`
has a point of every trial. `sweep.tensorboard_view` makes the HParams page of every trial from the ledger.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.fs as pafs

from search_spaces.domains import Choice
from sweep.event_files import EventFiles
from sweep.paths import target_place
from sweep.records import Phase, State, TrialKey, TrialRecord, last_numbers
from trainables.catalogue.task import Role
from trainables.stages import Stage, StageKind, Training

if TYPE_CHECKING:
    from sweep.definition import Sweep
    from trainables.scores import Done, Progress, Score

#: The file that declares the columns of the HParams page. It has one name, so that a resumed sweep finds it.
EXPERIMENT = "events.out.tfevents.0000000000.experiment"

#: Hyperparameter that holds the name of the cell, beside those that are searched.
CELL = "cell"

#: The run that is of the sweep as a whole. A cell of that name would have its runs in folders below it.
WHOLE = "sweep"

#: Folders of ended search trials that stay, over all cells; each cell keeps at least its best one.
RUNS = 200


class SweepWriter:
    """Writes `<cell>/search-<number>`, `<cell>/confirmation-<number>` and `sweep` under `logdir`.

    Steps run on along a trial's path: those of the target follow those of the intermediate stage. A search trial is
    one session of the HParams page, named by its folder; taken up again after a kill, it goes on in a second file of
    the same folder and stays one session. One that had ended when the kill came gets its end from the next writer, out
    of `records`, and a confirmation its scores, by `scores_of` its evaluation. TensorBoard knows no pruned session: a
    pruned trial ends as a success, with the step in the metric `pruned_at_step`, and its score in one of its own, so
    that it is not ranked among those that finished. A trial that is still open has the status "unknown".

    TensorBoard shows only those hyperparameters that the experiment declares, or else those of the first run alone.
    So all values that any trial of any cell can have are declared before the first. When an edited definition changes
    them, a TensorBoard that is open must be started again.

    The steps of the run `sweep` are numbers of trials, and seeds where it shows confirmations. `records` are the
    trials that had ended before, `text` is what its page of texts says of the definition, in Markdown.
    """

    def __init__(
        self,
        logdir: str | Path,
        sweep: Sweep,
        records: Iterable[TrialRecord] = (),
        *,
        filesystem: pafs.FileSystem | None = None,
        text: str = "",
        scores_of: Callable[[str], Sequence[Score] | None] = lambda digest: None,
    ) -> None:
        self._files = EventFiles(filesystem or pafs.LocalFileSystem(), str(logdir))
        self._target = sweep.target.name
        self._kept_per_cell = max(1, RUNS // max(1, len(sweep.cells)))
        self._kept: dict[str, list[tuple[bool, float, int]]] = {}
        self._best: dict[str, float] = {}
        ended = [one for one in records if one.state is not State.OPEN]
        searched = [one for one in ended if one.key.phase is Phase.SEARCH]
        for record in searched:
            self._rank(record)
        for record in searched:
            self._make_up_for(record)
        for record in ended:
            if record.evaluation:
                self._confirm_late(record, scores_of(record.evaluation) or ())
        self._files.put_once(f"{WHOLE}/{EXPERIMENT}", experiment([cell.name for cell in sweep.cells], _ranges(sweep)))
        if text:
            self._files.add(WHOLE, text_summary("definition", text))
            self._files.close(WHOLE)

    def started(self, record: TrialRecord, path: Sequence[Stage]) -> None:
        """Open the trial's folder: its values, and the shares of its mixtures."""
        run = run_name(record.key)
        if record.key.phase is Phase.SEARCH:
            self._files.add(run, session_start(record))
        for place, stage in enumerate(path[:-1]):
            if stage.kind is StageKind.TRAIN and isinstance(stage.work, Training) and place != target_place(path):
                total = stage.work.settings.maximum_steps
                for portion in stage.work.portions:
                    for step in (_offset(path, place), _offset(path, place) + stage.steps):
                        self._files.add(run, scalar(f"share/{portion.task.name}", portion.steps / total), step)
        self._files.flush(run)

    def progressed(self, record: TrialRecord, place: int, path: Sequence[Stage], progress: Progress) -> None:
        """Losses, learning rate and development scores of one report."""
        run, step = run_name(record.key), _offset(path, place) + progress.step
        if progress.losses:
            steps = sum(loss.steps for loss in progress.losses)
            mean = sum(loss.loss * loss.steps for loss in progress.losses) / max(1, steps)
            self._files.add(run, scalar("loss", mean), step)
            self._files.add(run, scalar("learning_rate", progress.learning_rate), step)
            for loss in progress.losses:
                self._files.add(run, scalar(f"loss/{loss.task}", loss.loss), step)
        for score in progress.scores:
            if score.value is not None:
                name = score.language if score.task == self._target else f"{score.task}/{score.language}"
                self._files.add(run, scalar(f"dev/{name}/{score.metric}", score.value), step)
        self._files.flush(run)

    def stage_done(self, record: TrialRecord, place: int, path: Sequence[Stage], done: Done) -> None:
        """Nothing: what a stage scored has come as progress."""

    def ended(self, record: TrialRecord, path: Sequence[Stage], scores: Sequence[Score]) -> None:
        """The selected score or the accuracy per language, and how the trial ended; closes its folder."""
        key, run, last = record.key, run_name(record.key), _offset(path, len(path))
        if key.phase is Phase.SEARCH:
            for summary in session_end(record):
                self._files.add(run, summary, last)
        if key.phase is Phase.SEARCH:
            self._files.close(run)
            self._searched(record)
        else:
            self._confirmed(record, scores, last)
            self._files.close(run)
        self._files.flush(WHOLE)

    def close(self) -> None:
        """Close the folders of the trials that are still open; they go on when the sweep does."""
        self._files.close_all()

    def _confirmed(self, record: TrialRecord, scores: Iterable[Score], step: int) -> None:
        """The scores of each language, and their mean as a point of the whole sweep's run."""
        found = _reported(scores)
        for score in found:
            self._files.add(run_name(record.key), scalar(_tag(score), score.value or 0.0), step)
        if found:
            values = [score.value or 0.0 for score in found if score.metric == found[0].metric]
            point = scalar(f"confirmed/{record.key.cell}", sum(values) / len(values))
            self._files.add(WHOLE, point, record.seed)

    def _confirm_late(self, record: TrialRecord, scores: Sequence[Score]) -> None:
        """Write the scores of a confirmation that an earlier process recorded and was killed before they were shown."""
        run, found = run_name(record.key), _reported(scores)
        if found and not self._files.holds(run, _tag(found[-1])):
            self._confirmed(record, scores, sum(stage["steps"] for stage in record.stage_runs))
            self._files.close(run)

    def _make_up_for(self, record: TrialRecord) -> None:
        """Write the end of a search trial that an earlier process recorded and was killed before it was shown."""
        from tensorboard.plugins.hparams import metadata

        run = run_name(record.key)
        kept = -record.key.number in {number for _, _, number in self._kept[record.key.cell]}
        if not kept or self._files.holds(run, metadata.SESSION_END_INFO_TAG):
            return
        if not self._files.holds(run, metadata.SESSION_START_INFO_TAG):
            self._files.add(run, session_start(record))
        for summary in session_end(record):
            self._files.add(run, summary, record.scored[-1][0] if record.scored else 0)
        self._files.close(run)
        self._point(record)

    def _searched(self, record: TrialRecord) -> None:
        """A point of the whole sweep's run; then the folder of the least of the cell goes, if there are too many."""
        dropped = self._rank(record)
        self._point(record)
        for gone in dropped:
            self._files.delete(run_name(TrialKey(cell=record.key.cell, phase=Phase.SEARCH, number=gone)))

    def _point(self, record: TrialRecord) -> None:
        cell, number = record.key.cell, record.key.number
        score = last_score(record)
        if score is not None:
            self._files.add(WHOLE, scalar(f"score/{cell}", score), number)
            for name, value in record.values.items():
                if name.startswith("share."):
                    self._files.add(WHOLE, scalar(f"share/{cell}/{name.removeprefix('share.')}", value), number)
        if cell in self._best:
            self._files.add(WHOLE, scalar(f"best/{cell}", self._best[cell]), number)

    def _rank(self, record: TrialRecord) -> list[int]:
        """Take an ended search trial among its cell's; numbers of those that have to go for it."""
        cell, score = record.key.cell, last_score(record)
        if record.state is State.FINISHED and score is not None:
            self._best[cell] = max(score, self._best.get(cell, score))
        mine = [one for one in self._kept.get(cell, []) if one[2] != -record.key.number]
        mine.append((record.state is State.FINISHED, -1.0 if score is None else score, -record.key.number))
        mine.sort(reverse=True)
        self._kept[cell] = mine[: self._kept_per_cell]
        return [-number for _, _, number in mine[self._kept_per_cell :]]


def run_name(key: TrialKey) -> str:
    """The folder of a trial."""
    return f"{key.cell}/{key.phase}-{key.number}"


def last_score(record: TrialRecord) -> float | None:
    """The score of an ended search trial: the selected one, or the last before it was stopped; None if it failed."""
    if record.score is not None:
        return record.score
    return record.scored[-1][1] if record.scored and record.state is State.PRUNED else None


def _reported(scores: Iterable[Score]) -> list[Score]:
    return [score for score in scores if score.value is not None and score.role is Role.REPORT]


def _tag(score: Score) -> str:
    return f"lang/{score.language}/{score.metric}"


def _offset(path: Sequence[Stage], place: int) -> int:
    return sum(stage.steps for stage in path[:place])


def _ranges(sweep: Sweep) -> dict[str, tuple[float, float]]:
    """The lowest and highest value of everything that a trial's values can hold; shares count as values, not draws."""
    ranges = {f"share.{task.name}": (0.0, 1.0) for cell in sweep.cells for task in cell.intermediates}
    for cell in sweep.cells:
        for name, domain in sweep.parameters(cell).items():
            ends = domain.options if isinstance(domain, Choice) else (domain.low, domain.high)
            ranges.setdefault(name, (min(ends), max(ends)))
    return ranges


def experiment(cells: Sequence[str], parameters: Mapping[str, tuple[float, float]]) -> Any:
    """The declaration of the HParams page: its columns, with the lowest and highest value of each parameter."""
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    cell = api_pb2.HParamInfo(name=CELL, type=api_pb2.DATA_TYPE_STRING, differs=True)
    cell.domain_discrete.extend(sorted(cells))
    infos = [cell]
    for name, (low, high) in sorted(parameters.items()):
        info = api_pb2.HParamInfo(name=name, type=api_pb2.DATA_TYPE_FLOAT64, differs=True)
        info.domain_interval.min_value, info.domain_interval.max_value = low, high
        infos.append(info)
    metrics = [
        api_pb2.MetricInfo(
            name=api_pb2.MetricName(tag=tag),
            display_name=shown,
            description=meaning,
            dataset_type=api_pb2.DATASET_VALIDATION,
        )
        for tag, shown, meaning in (
            ("score", "English dev accuracy", "the score that the search maximises, 0 to 1"),
            (
                "score_when_pruned",
                "dev accuracy when pruned",
                "the score of a trial that was stopped early",
            ),
            ("pruned_at_step", "pruned at step", "target step at which the trial was stopped early"),
        )
    ]
    experiment = api_pb2.Experiment(hparam_infos=infos, metric_infos=metrics)
    return _hparams(metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=experiment))


def session_start(record: TrialRecord) -> Any:
    """That a search trial has begun, with its values."""
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    start = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
    start.hparams[CELL].string_value = record.key.cell
    for name, value in record.values.items():
        start.hparams[name].number_value = value
    return _hparams(metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=start))


def session_end(record: TrialRecord) -> Iterator[Any]:
    """How a search trial ended: its selected score or that and the step at which it was stopped, its state."""
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    for name, value in last_numbers(record).items():
        yield scalar(name, value)
    status = api_pb2.STATUS_FAILURE if record.state is State.FAILED else api_pb2.STATUS_SUCCESS
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    yield _hparams(metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=end))


def scalar(tag: str, value: float) -> Any:
    """A summary of one number."""
    from tensorboard.compat.proto import summary_pb2

    return summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, simple_value=value)])


def text_summary(tag: str, markdown: str) -> Any:
    """A summary for the page of texts."""
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.plugins.text import metadata
    from tensorboard.util import tensor_util

    about = metadata.create_summary_metadata(display_name=tag, description="")
    value = summary_pb2.Summary.Value(tag=tag, metadata=about, tensor=tensor_util.make_tensor_proto(markdown))
    return summary_pb2.Summary(value=[value])


def image_summary(tag: str, png: bytes) -> Any:
    """A summary for the page of images."""
    from tensorboard.compat.proto import summary_pb2

    width, height = struct.unpack(">II", png[16:24])
    image = summary_pb2.Summary.Image(encoded_image_string=png, width=width, height=height, colorspace=4)
    return summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, image=image)])


def _hparams(tag: str, data: Any) -> Any:
    """A summary for the HParams page; tensorboard.plugins.hparams.summary makes the same, but with TensorFlow."""
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.plugins.hparams import metadata

    value = summary_pb2.Summary.Value(
        tag=tag, metadata=metadata.create_summary_metadata(data), tensor=metadata.NULL_TENSOR
    )
    return summary_pb2.Summary(value=[value])
