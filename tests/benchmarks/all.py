"""The benchmarks that need no GPU and a quarter of an hour at most, one after another; measures nothing itself.

Of `bench_scale` it runs the ledger alone; `bench_loop --part 3` (accuracy in bfloat16), `bench_seed_sets` and
`bench_hosts` are run by name.

    python -m tests.benchmarks.all          # about thirty-five minutes

Exits 1 if any of them misses a goal or fails. One that skips, for want of a package or of files, is named in the last
line as not measured.
"""

from __future__ import annotations

import subprocess
import sys

from tests.benchmarks.verdict import verdict

BENCHMARKS = (
    "bench_start",
    "bench_overhead",
    "bench_loop",
    "bench_simulate",
    "bench_simplex",
    "bench_two_level",
    "bench_ragged",
    "bench_coverage",
    "bench_report",
    "bench_first_step",
    "bench_scale --trials 0",
    "bench_twins",
)


def main() -> int:
    statuses = {}
    for name in BENCHMARKS:
        print(f"\n== {name} ==\n", flush=True)
        statuses[name] = subprocess.run([sys.executable, "-m", *f"tests.benchmarks.{name}".split()]).returncode
    text, missed = verdict(statuses)
    print(f"\n{text}")
    return missed


if __name__ == "__main__":
    sys.exit(main())
