"""How long it takes to import the library, and to plan the built-in sweep from the command line.

    python -m tests.benchmarks.bench_start          # about ten seconds

Medians of whole processes, the interpreter's own start included. Exits 1 where a goal is missed, or where a process
has imported what it must not.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time

RUNS = 7

#: Run by a process of its own; the last line names what it imported of the libraries that are slow to import.
_IMPORT = "import sweep"
_PLAN = "from sweep.cli import main; assert main(['plan', 'lab']) == 0"
_LOADED = "; import sys; print(*{'torch', 'ray'} & set(sys.modules))"

#: Title, program and goal in seconds.
GOALS = (('python -c "import sweep"', _IMPORT, 0.3), ("sweep plan lab", _PLAN, 1.0))


def seconds(program: str) -> tuple[float, float]:
    """Of one process: by the clock, and of processor time, which other load on the machine lengthens little."""
    started, before = time.perf_counter(), _children()
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started, _children() - before


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def loaded(program: str) -> str:
    """Those of torch and ray that the program imports, with a space between."""
    said = subprocess.run([sys.executable, "-c", program + _LOADED], check=True, capture_output=True, text=True)
    return said.stdout.splitlines()[-1]


def main() -> int:
    missed = False
    print(f"seconds of a whole process, {RUNS} runs")
    for title, program, goal in GOALS:
        found, processor = zip(*(seconds(program) for _ in range(RUNS)), strict=True)
        median, slow = statistics.median(found), loaded(program)
        met = median < goal and not slow
        missed |= not met
        print(
            f"  {title:26s}median {median:.3f}  ({min(found):.3f} to {max(found):.3f}), "
            f"processor {statistics.median(processor):.3f}   goal: median below {goal}   "
            f"imports {slow or 'neither torch nor ray'}   {'met' if met else 'MISSED'}"
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
