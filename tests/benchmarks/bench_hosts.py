"""What `sweep plan --simulate` says of a sweep on two hosts against what it took; the goal is within 20 %.

    python -m tests.benchmarks.bench_hosts      # as root; about six minutes

Brings a head and two workers up with `ray up`, on hosts made on this machine, and runs two sweeps there, whole. The
stage times and the start of gangs in the first one's ledger predict the second, which has twice the trials.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from sweep import Results, Sweep
from sweep.plan import estimated_seconds, plan
from sweep.records import What
from sweep.simulate import Described, simulate
from sweep.stage_times import Measured, measured
from tests.cluster.handing_over import submit
from tests.cluster.hosts import hosts, why_not
from tests.cluster.running import Running, brought_up
from tests.cluster.seen import happenings, until
from tests.cluster.sweeps import LONE, MORE
from tests.pure.s3_server import CREDENTIALS, s3_server, uri

GOAL_SHARE = 0.2


def main() -> int:
    if reason := why_not():
        print(f"not measured: {reason}")
        return 2
    os.environ.update(CREDENTIALS)
    with hosts() as machines, s3_server(machines.bridge_address) as place, tempfile.TemporaryDirectory() as folder:
        with brought_up(machines, Path(folder)) as running:
            taken = {sweep.name: _run(running, sweep, uri(*place, sweep.name), Path(folder)) for sweep in (LONE, MORE)}
    off = []
    for sweep, source in ((LONE, LONE), (MORE, LONE), (MORE, MORE)):
        took, said = taken[sweep.name][0], _predicted(sweep, taken[source.name][1])
        off.append(abs(said / took - 1))
        print(f"{sweep.name}: {took:.0f} s on hosts; {said:.0f} s by {source.name!r}, {said / took:.2f} of it")
    print(f"the prediction of the second from the first is off by {off[1]:.0%} (goal {GOAL_SHARE:.0%})")
    return 0 if off[1] <= GOAL_SHARE else 1


def _run(running: Running, sweep: Sweep, storage: str, folder: Path) -> tuple[float, Measured]:
    """How long the sweep had run when its last trial ended, in seconds, and what its ledger says of time."""
    submit(running, sweep, storage, folder)
    until(f"{sweep.name} has begun", lambda: happenings(sweep, storage))
    until(f"{sweep.name} is complete", lambda: Results.open(storage, sweep.name).complete, seconds=900)
    ends = (h.payload["elapsed"] for h in happenings(sweep, storage) if h.what is What.FINISHED)
    return max(ends), measured(Results.open(storage, sweep.name).standing().records.values(), plan(sweep))


def _predicted(sweep: Sweep, times: Measured) -> float:
    assert times.start_seconds is not None and times.between_seconds is not None
    described = Described(
        nodes=2,
        node_start_seconds=0.0,
        gang_start_seconds=times.start_seconds,
        stage_overhead_seconds=times.between_seconds,
    )
    print(f"{sweep.name}: gangs ready after {times.start_seconds:.1f} s, {times.between_seconds:.2f} s between stages")
    return simulate(plan(sweep), described, times.seconds_of(estimated_seconds)).makespan_seconds


if __name__ == "__main__":
    sys.exit(main())
