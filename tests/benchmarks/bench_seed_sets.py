"""How often the lab's planted truths come out: the demo's confirmation, on ten further sets of three seeds.

    python -m tests.benchmarks.bench_seed_sets --storage DIR [--sets 10] [--first 4]

DIR may be the demo's storage: its search and its pre-training are then found there and not done again. Every set runs
three cells, none, text NLI and its shuffled control, with the winners of the demo's search; all else of each seed is
trained anew. About five minutes a set on two cores. The encoder's pre-training is the demo's, one for all sets.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import replace

from rich.console import Console

from search_spaces.transfer_grid import CellRole
from sweep import run
from sweep.presets import lab
from tests.benchmarks.planted import truths
from trainables.catalogue.lab import NLI, NLI_SHUFFLED

SEEDS_PER_SET = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", required=True, help="folder of the sweeps; the demo's, or an empty one")
    parser.add_argument("--sets", type=int, default=10, help="how many sets of three seeds")
    parser.add_argument("--first", type=int, default=4, help="the first seed; the demo's are 1, 2 and 3")
    given = parser.parse_args()
    demo = lab()
    cells = tuple(
        cell for cell in demo.cells if cell.role is CellRole.BASELINE or cell.name in (NLI.name, NLI_SHUFFLED.name)
    )
    held: Counter[int] = Counter()
    whole = 0
    for number in range(given.sets):
        begin = given.first + number * SEEDS_PER_SET
        seeds = tuple(range(begin, begin + SEEDS_PER_SET))
        name = "lab_seeds_" + "_".join(map(str, seeds))
        results = run(
            replace(demo, name=name, cells=cells, confirmation_seeds=seeds),
            given.storage,
            console=Console(file=sys.stderr),
        )
        found = truths(results.per_language())
        whole += all(truth.holds for truth in found)
        for place, truth in enumerate(found):
            held[place] += truth.holds
            print(f"seeds {seeds}: {'held  ' if truth.holds else 'FAILED'} {truth.claim}: {truth.found}", flush=True)
        print(f"all truths held in {whole} of {number + 1} sets so far", flush=True)
    for place, truth in enumerate(found):
        print(f"{held[place]} of {given.sets}: {truth.claim.partition(' (')[0]}")
    print(f"{whole} of {given.sets} sets: all of them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
