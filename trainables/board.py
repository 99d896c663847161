"""Who waits for which stage and which gang runs what, as a state machine that decides; carries nothing out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from trainables.faults import refuse
from trainables.scores import Done, Event, Failed, Progress
from trainables.stages import Stage, refuse_broken

#: How often in a row a stage may lose its gang, without a step further in between, before it is taken to be the cause.
LOSSES_ALLOWED = 2

#: How often in a row machines or the storage may end the gang of a stage, without a step further in between, before the
#: sweep stops. That is no fault of the stage's, so its trials stay open; but it must not go on for ever.
MACHINES_ALLOWED = 9


@dataclass(frozen=True, kw_only=True)
class Assign:
    """Hand this stage to this gang, which is free. `attempt` is unique over all sessions."""

    gang: str
    stage: Stage
    attempt: str


@dataclass(frozen=True, kw_only=True)
class Cancel:
    """Ask this gang to stop the stage that it runs; it answers with an event all the same."""

    gang: str
    digest: str
    attempt: str


@dataclass(frozen=True, kw_only=True)
class Notify:
    """Tell this trial of an event of its path."""

    trial: str
    event: Event


Decision = Assign | Cancel | Notify


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What a trial waits for."""

    trial: str
    kind: str
    digest: str
    reason: str


class _State(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"


@dataclass(kw_only=True)
class _Track:
    """A trial on its way: `position` is the stage it waits for, stages before `told` are known to it.

    One that is `ahead` is no trial: it stands for trials to come, hears of nothing and lets every other go first.
    """

    number: int
    ahead: bool = False
    path: tuple[Stage, ...]
    position: int = 0
    told: int = 0


@dataclass(kw_only=True)
class _Work:
    """A stage that somebody waits for, or that is being stopped."""

    stage: Stage
    state: _State = _State.QUEUED
    trials: list[str] = field(default_factory=list)
    gang: str = ""
    attempt: str = ""
    losses: int = 0
    """Gangs that were lost since it last got further than ever before, but for the next."""
    losses_of_machines: int = 0
    """Gangs that machines or the storage have ended since then."""
    seen: list[Progress] = field(default_factory=list)
    repeated_up_to: int = -1
    """Reports of the present attempt up to this step repeat what an earlier attempt said."""


class Board:
    """The dispatcher's decisions.

    A trial waits for one stage at a time, the first of its path that is not done. Trials that need the same stage
    wait for the same one. Free gangs are given the stage of the trial that was submitted first, and where no trial has
    one ready, a stage that is foreseen.

    `session` tells the attempts of this board from those of any other that writes to the same store.
    """

    def __init__(self, *, session: str, losses_allowed: int = LOSSES_ALLOWED) -> None:
        self._session = session
        self._losses_allowed = losses_allowed
        self._trials: dict[str, _Track] = {}
        self._work: dict[str, _Work] = {}
        self._done: dict[str, Done] = {}
        self._gone: set[str] = set()
        """Of those that are done, the ones whose weights are no longer in the store."""
        self._going: set[str] = set()
        """Of these, the ones whose weights are being deleted at this moment: nobody makes them again before that."""
        self._gangs: dict[str, str] = {}
        """The digest that each gang runs, empty while it is free."""
        self._unclaimed: set[str] = set()
        """Stages executed ahead of the trials that need them: the first trial to come is told that they were."""
        self._remade: Counter[str] = Counter()
        self._attempts = 0
        self._submitted = 0
        self._no_gangs = ""
        self.counts: Counter[str] = Counter()
        """Stages executed, reused, failed, cancelled, lost with their gang, remade because the store had damaged them,
        moved from a gang that left, duplicate: finished here after another sweep on the same storage had finished them.
        """

    # Trials

    def submit(
        self, trial: str, path: tuple[Stage, ...], stored: Mapping[str, Done], gone: Iterable[str] = ()
    ) -> tuple[Decision, ...]:
        """Take a trial on. `stored` holds what the store has of the path, by digest, and `gone` those of it whose
        results are known but whose weights are not there: they are made again if a stage after them is not done.

        A trial of the same name that is still open is replaced.

        Raises:
            Invalid: if the path is empty or broken.
        """
        refuse("a path", () if path else ("it must hold at least one stage",))
        decisions = self._take_on(trial, path, stored, gone, ahead=False)
        return (*decisions, *self._assign())

    def foresee(
        self, path: tuple[Stage, ...], stored: Mapping[str, Done], gone: Iterable[str] = ()
    ) -> tuple[Decision, ...]:
        """Stages that trials to come are certain to need: gangs for which no trial has work run them.

        Nobody hears of them before a trial asks. `stored` and `gone` as in `submit`.

        Raises:
            Invalid: if the path is empty or broken.
        """
        refuse("a path", () if path else ("it must hold at least one stage",))
        decisions = self._take_on(f"ahead of trials: {path[-1].digest}", path, stored, gone, ahead=True)
        return (*decisions, *self._assign())

    def detach(self, trial: str) -> tuple[Decision, ...]:
        """Forget a trial; its stage stops only if nobody else waits for it."""
        return (*self._leave(trial), *self._assign())

    def known(self, digest: str) -> bool:
        """Whether the stage is known to be done."""
        return digest in self._done

    def is_gone(self, digest: str) -> bool:
        """Whether the weights of the stage were deleted, or are about to be."""
        return digest in self._gone

    def evicting(self, digest: str) -> None:
        """The weights of a finished stage are about to be deleted: whoever needs them from now on has them made again,
        and that does not begin before `evicted`.
        """
        self._gone.add(digest)
        self._going.add(digest)

    def evicted(self, digest: str) -> tuple[Decision, ...]:
        """The weights of a finished stage were deleted."""
        self._gone.add(digest)
        self._going.discard(digest)
        return tuple(self._assign())

    def needed(self) -> set[str]:
        """The stages whose weights an open trial is about to read, or is reading."""
        waits = (track.path[track.position].parent for track in self._trials.values())
        return {parent for parent in (*waits, *(work.stage.parent for work in self._work.values())) if parent}

    def ahead_of_trials(self) -> set[str]:
        """The stages that open trials are yet to pass, and the one before, which the next reads."""
        tracks = self._trials.values()
        return {stage.digest for track in tracks for stage in track.path[max(0, track.position - 1) :]}

    def wanted(self, digest: str) -> bool:
        """Whether anybody waits for the stage, or all was stopped to go on later: then its checkpoints are kept."""
        work = self._work.get(digest)
        return bool(self._no_gangs) or (work is not None and bool(work.trials))

    @property
    def ended(self) -> str:
        """Why nothing is handed out any more; empty while stages are."""
        return self._no_gangs

    # Gangs

    def gang_ready(self, gang: str) -> tuple[Decision, ...]:
        """A gang has started, or started again, and is free."""
        self._gangs.setdefault(gang, "")
        return tuple(self._assign())

    def gang_lost(self, gang: str, reason: str, *, of_machine: bool = False) -> tuple[Decision, ...]:
        """A gang is no more; its stage is queued again, unless it has lost too many gangs in a row.

        `of_machine` says that a machine or the storage ended it: that fails no trial.
        """
        digest = self._gangs.pop(gang, "")
        decisions: list[Decision] = []
        if digest:
            decisions += self._lost(self._work[digest], reason, of_machine=of_machine)
        return (*decisions, *self._assign())

    def gang_left(self, gang: str) -> tuple[Decision, ...]:
        """A gang has left in good order, for want of work or because its machine is about to go; that is no loss."""
        digest = self._gangs.pop(gang, "")
        if digest:
            self.counts["moved"] += 1
            self._stopped(self._work[digest])
        return tuple(self._assign())

    def gangs_gone(self, reason: str) -> tuple[Decision, ...]:
        """No gang will ever be ready again: every trial fails, those to come included."""
        self._no_gangs = reason
        return tuple(self._fail_all(reason))

    def stop(self, reason: str) -> tuple[Decision, ...]:
        """Every trial is let go, those to come included, and stays open; every gang is asked to stop what it runs."""
        self._no_gangs = reason
        running = [work for work in self._work.values() if work.state is _State.RUNNING]
        cancels = [Cancel(gang=work.gang, digest=work.stage.digest, attempt=work.attempt) for work in running]
        return (*cancels, *self._fail_all(reason))

    def report(self, gang: str, attempt: str, event: Event) -> tuple[Decision, ...]:
        """An event from a gang; ignored unless it is of the attempt that was handed to it."""
        work = self._running(gang, attempt)
        if work is None or event.digest != work.stage.digest:
            return ()
        if isinstance(event, Progress):
            return tuple(self._progress(work, event))
        self._gangs[gang] = ""
        if isinstance(event, Done):
            ended = self._finish(work, event)
        elif isinstance(event, Failed):
            ended = self._fail(work, event)
        elif work.state is _State.RUNNING:
            ended = self._lost(work, "it stopped without having been asked to")
        else:
            ended = self._stopped(work)
        return (*ended, *self._assign())

    def parent_missing(self, gang: str, attempt: str) -> tuple[Decision, ...]:
        """The gang found the output of the parent damaged or gone: the parent is run again, then this stage."""
        work = self._running(gang, attempt)
        if work is None:
            return ()
        parent = work.stage.parent
        self._remade[parent] += parent in self._done
        if not parent or self._remade[parent] > self._losses_allowed:
            reason = f"the output of its parent stage {parent} could not be read from the store, again"
            return self.report(gang, attempt, Failed(digest=work.stage.digest, reason=reason))
        self._gangs[gang] = ""
        self.counts["remade"] += parent in self._done
        del self._work[work.stage.digest]
        self._done.pop(parent, None)
        decisions: list[Decision] = []
        for trial in work.trials:
            self._trials[trial].position -= 1
            decisions += self._advance(trial)
        return (*decisions, *self._assign())

    def accepts(self, gang: str, attempt: str) -> bool:
        """Whether this attempt is the one handed to this gang, so that it may commit what it made."""
        return self._running(gang, attempt) is not None

    def gets_further(self, gang: str, attempt: str, event: Event) -> bool:
        """Whether by this event, which is yet to be reported, the stage of a gang is further than ever before."""
        work = self._running(gang, attempt)
        return work is not None and (
            event.step > work.repeated_up_to if isinstance(event, Progress) else isinstance(event, Done)
        )

    # What is going on

    def waiting(self, *, gangless: str = "for a gang to start") -> list[Waiting]:
        """What every open trial waits for, in the order of submission; `gangless` while no gang has started."""
        queue = {work.stage.digest: place for place, work in enumerate(self._queue())}
        found = []
        for trial, track in sorted(self._trials.items(), key=lambda item: item[1].number):
            if track.ahead:
                continue
            stage = track.path[track.position]
            work = self._work[stage.digest]
            if work.state is _State.QUEUED:
                ahead = queue[stage.digest]
                reason = f"for a free gang, {ahead} stages ahead" if self._gangs else gangless
            elif work.state is _State.RUNNING:
                reason = f"for {work.gang}, which runs it"
            else:
                reason = f"for {work.gang} to stop an earlier attempt"
            found.append(Waiting(trial=trial, kind=str(stage.kind), digest=stage.digest, reason=reason))
        return found

    def running(self) -> dict[str, str]:
        """The digest that each busy gang runs."""
        return {gang: digest for gang, digest in self._gangs.items() if digest}

    def stage_of(self, gang: str) -> Stage | None:
        """The stage that a gang runs."""
        work = self._work.get(self._gangs.get(gang, ""))
        return work.stage if work else None

    def is_free(self, gang: str) -> bool:
        """Whether the gang is ready and runs nothing."""
        return self._gangs.get(gang) == ""

    def queued(self) -> int:
        """How many stages that trials need wait for a gang."""
        return sum(work.state is _State.QUEUED and not self._is_ahead(work) for work in self._work.values())

    # Moves

    def _take_on(
        self, trial: str, path: tuple[Stage, ...], stored: Mapping[str, Done], gone: Iterable[str], *, ahead: bool
    ) -> list[Decision]:
        refuse_broken(path)
        decisions = list(self._leave(trial))
        self._gone.update(digest for digest in gone if digest not in self._done)  # else what is known here is newer
        for digest, done in stored.items():
            self._done.setdefault(digest, done)
        self._submitted += 1
        self._trials[trial] = _Track(number=self._submitted, path=path, ahead=ahead)
        decisions += self._advance(trial)
        if self._no_gangs:
            decisions += self._fail_all(self._no_gangs)
        return decisions

    def _running(self, gang: str, attempt: str) -> _Work | None:
        digest = self._gangs.get(gang, "")
        work = self._work.get(digest)
        return work if work is not None and work.attempt == attempt else None

    def _tell(self, trial: str, event: Event) -> Iterator[Decision]:
        """Notify, unless the event is of a stage that the trial has already been told about in full."""
        track = self._trials[trial]
        if not track.ahead and track.position >= track.told:
            if isinstance(event, Done):
                track.told = track.position + 1
                self.counts["reused"] += event.reused
            yield Notify(trial=trial, event=event)

    def _advance(self, trial: str) -> Iterator[Decision]:
        """Let a trial pass every stage that is done and wait for the first that is not."""
        track = self._trials[trial]
        while track.position < len(track.path):
            stage = track.path[track.position]
            done = self._done.get(stage.digest)
            if done is None:
                while track.position and track.path[track.position - 1].digest in self._gone:
                    track.position -= 1  # its weights must be made again, for which those before it are read
                yield from self._join(trial, track.path[track.position])
                return
            yield from self._tell(trial, done if self._claims(trial, done.digest) else _reused(done))
            track.position += 1
        del self._trials[trial]

    def _join(self, trial: str, stage: Stage) -> Iterator[Decision]:
        work = self._work.setdefault(stage.digest, _Work(stage=stage))
        work.trials.append(trial)
        for event in work.seen:
            yield from self._tell(trial, event)

    def _leave(self, trial: str) -> Iterator[Decision]:
        track = self._trials.pop(trial, None)
        if track is None:
            return
        work = self._work[track.path[track.position].digest]
        work.trials.remove(trial)
        if work.trials:
            return
        if work.state is _State.QUEUED:
            del self._work[work.stage.digest]
        elif work.state is _State.RUNNING:
            work.state = _State.CANCELLING
            yield Cancel(gang=work.gang, digest=work.stage.digest, attempt=work.attempt)

    def _progress(self, work: _Work, event: Progress) -> Iterator[Decision]:
        if event.step <= work.repeated_up_to:
            return
        work.seen.append(event)
        work.losses = work.losses_of_machines = 0
        for trial in work.trials:
            yield from self._tell(trial, event)

    def _finish(self, work: _Work, event: Done) -> Iterator[Decision]:
        digest = work.stage.digest
        del self._work[digest]
        self.counts["remade"] += digest in self._gone and not event.reused
        self._gone.discard(digest)
        self._done[digest] = event
        if not event.reused:  # else the gang found it in the store, made by another sweep
            self.counts["executed"] += 1
            self.counts["duplicate"] += event.duplicate
            self._unclaimed.add(digest)
        for trial in work.trials:
            yield from self._tell(trial, event if self._claims(trial, digest) else _reused(event))
            self._trials[trial].position += 1
            yield from self._advance(trial)

    def _fail(self, work: _Work, event: Failed) -> Iterator[Decision]:
        del self._work[work.stage.digest]
        self.counts["failed"] += 1
        for trial in work.trials:
            if not self._trials.pop(trial).ahead:
                yield Notify(trial=trial, event=event)

    def _stopped(self, work: _Work) -> Iterator[Decision]:
        """The gang let go of the stage: queued again if somebody came back for it, else forgotten."""
        if work.trials:
            self._requeue(work)
        else:
            del self._work[work.stage.digest]
            self.counts["cancelled"] += 1
        return iter(())

    def _lost(self, work: _Work, reason: str, *, of_machine: bool = False) -> Iterator[Decision]:
        self.counts["lost"] += 1
        work.losses += not of_machine
        work.losses_of_machines += of_machine
        if not work.trials:
            return self._stopped(work)
        if work.losses > self._losses_allowed:
            text = f"its gang was lost {work.losses} times while running it; the last time: {reason}"
            return self._fail(work, Failed(digest=work.stage.digest, reason=text))
        if work.losses_of_machines > MACHINES_ALLOWED:
            text = f"its gang was lost {work.losses_of_machines} times and got no further; the last time: {reason}"
            return self._fail(work, Failed(digest=work.stage.digest, reason=text, of_machine=True))
        self._requeue(work)
        return iter(())

    def _requeue(self, work: _Work) -> None:
        work.state, work.gang, work.attempt = _State.QUEUED, "", ""
        work.repeated_up_to = max((event.step for event in work.seen), default=-1)

    def _fail_all(self, reason: str) -> Iterator[Decision]:
        for work in tuple(self._work.values()):
            yield from self._fail(work, Failed(digest=work.stage.digest, reason=reason, of_machine=True))
        for gang in self._gangs:
            self._gangs[gang] = ""

    def _queue(self) -> list[_Work]:
        queued = (work for work in self._work.values() if work.state is _State.QUEUED)
        return sorted(queued, key=lambda work: (self._is_ahead(work), self._first(work)))

    def _first(self, work: _Work) -> int:
        """When the first of those that need it was submitted; who stands for trials to come counts last."""
        tracks = [self._trials[trial] for trial in work.trials]
        return min(track.number for track in tracks if track.ahead == self._is_ahead(work))

    def _is_ahead(self, work: _Work) -> bool:
        """Whether no trial needs it yet."""
        return all(self._trials[trial].ahead for trial in work.trials)

    def _claims(self, trial: str, digest: str) -> bool:
        """Whether the trial is the one that a stage executed here is put down to."""
        if self._trials[trial].ahead or digest not in self._unclaimed:
            return False
        self._unclaimed.discard(digest)
        return True

    def _assign(self) -> Iterator[Decision]:
        free = sorted(gang for gang, digest in self._gangs.items() if not digest)
        ready = (work for work in self._queue() if work.stage.digest not in self._going)
        for gang, work in zip(free, ready, strict=False):
            self._attempts += 1
            work.state, work.gang, work.attempt = _State.RUNNING, gang, f"{self._session}-{self._attempts}"
            self._gangs[gang] = work.stage.digest
            yield Assign(gang=gang, stage=work.stage, attempt=work.attempt)


def _reused(done: Done) -> Done:
    return replace(done, reused=True, steps_executed=0)
