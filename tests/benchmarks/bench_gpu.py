"""The training loop on one CUDA GPU, with random weights; needs no download.

    python -m tests.benchmarks.bench_gpu [--part 1|2]

(1) XLM-R base in bfloat16: examples per second beside Hugging Face's Trainer on the same batches, model FLOPs
    utilisation, peak memory, whether a cancelled stage resumes to the same bits, and the throughput of two gangs that
    share the GPU. Needs `accelerate` for the peer.
(2) Encoders of the sizes that are published, on texts of 77 to 384 tokens, base in each precision: examples per second,
    what `sweep plan` takes for granted beside it, and peak memory; and images per second of a vision tower as large
    as SigLIP 2's base.

Needs one CUDA GPU with bfloat16 (Ampere or newer) and 24 GiB of memory. Exits 2 where there is none.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

STEPS, WARM, RUNS, BATCH = 120, 20, 3, 64

#: Dense bfloat16 products per second that the makers state, by a part of the device's name.
PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "A10G": 70e12}


def sizes() -> dict:
    """By name the configuration of each encoder, and what differs from its defaults."""
    from transformers import BertConfig, ModernBertConfig, XLMRobertaConfig

    xlmr = {"vocab_size": 250002, "max_position_embeddings": 514, "type_vocab_size": 1}
    large = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    return {
        "XLM-R base": (XLMRobertaConfig, xlmr),
        "XLM-R large": (XLMRobertaConfig, xlmr | large),
        "mBERT": (BertConfig, {"vocab_size": 119547}),
        "mmBERT base": (ModernBertConfig, {"vocab_size": 256000, "intermediate_size": 1152}),
    }


def encoder(folder: Path, name: str = "XLM-R base", maximum_tokens: int = 128):
    """One of `sizes` with random weights and the lab's tokenizer, from a directory that AutoModel loads."""
    from transformers import AutoModel

    from trainables.catalogue.encoder import Encoder, LocalEncoder, Patches
    from trainables.data.fingerprint import resolve_encoder
    from trainables.data.tokens import lab_forms, small_tokenizer

    if not (folder / name / "config.json").is_file():
        kind, more = sizes()[name]
        torch.manual_seed(0)
        with torch.device("cuda"):  # a processor takes its time for so many random numbers
            model = AutoModel.from_config(kind(pad_token_id=1, bos_token_id=0, eos_token_id=2, **more))
        model.to("cpu").save_pretrained(folder / name)
        small_tokenizer(lab_forms(), 512).save_pretrained(folder / name)
    patches = Patches(height=36, width=36, patch=12)
    text = LocalEncoder(path=str(folder / name))
    return resolve_encoder(Encoder(name="measured", text=text, patches=patches, maximum_tokens=maximum_tokens))


def stage(folder: Path, steps: int = STEPS, dropout: float = 0.1):
    from tests.benchmarks.bench_loop import NLI
    from trainables.settings import Settings
    from trainables.stages import Portion, Shape, Stage, StageKind, Training

    settings = Settings(
        learning_rate=2e-5,
        maximum_steps=steps,
        batch_size=BATCH,
        warmup_steps=10,
        dropout=dropout,
        evaluation_interval_steps=10**6,
    )
    return Stage(
        kind=StageKind.TRAIN,
        work=Training(settings=settings, portions=(Portion(task=NLI, steps=steps),)),
        encoder=encoder(folder),
        parent="",
        seed=0,
        shape=Shape(workers=1, threads=4, precision="bfloat16", device="cuda"),
        versions=(),
    )


def ours(of, output: Path, batch: int = BATCH) -> float:
    """Examples per second of `run_stage`, after the warm-up, with the device waited for at both ends."""
    from trainables.training.attempt import CANCEL_INTERVAL_STEPS
    from trainables.training.loop import run_stage

    asked: list[float] = []
    last = (of.steps - 1) // CANCEL_INTERVAL_STEPS

    def cancelled() -> bool:
        if len(asked) in (WARM // CANCEL_INTERVAL_STEPS, last):
            torch.cuda.synchronize()
        asked.append(time.perf_counter())
        return False

    run_stage(of, parent=None, output=output, cancelled=cancelled)
    first = WARM // CANCEL_INTERVAL_STEPS
    return (last - first) * CANCEL_INTERVAL_STEPS * batch / (asked[last] - asked[first])


def theirs(of, folder: Path) -> float:
    from tests.benchmarks import peer
    from tests.benchmarks.bench_loop import NLI
    from trainables.data.batches import Sampler
    from trainables.data.rows import rows
    from trainables.training.checkpoint import read_model

    data = rows(NLI, "train", None, of.encoder)
    sampler = Sampler(data.lengths, BATCH, of.seed, NLI.name)
    reader = read_model(None, of.encoder, seed=0, dropout=of.work.settings.dropout, carry_heads=True)
    reader.head(NLI.head, 3)
    batches = [sampler.rows(step) for step in range(of.steps)]
    return peer.train(
        reader, data, of.work.settings, head=NLI.head, labels=3, folder=folder, batches=batches, warm=WARM, bf16=True
    )[0]


def flops_per_example(of) -> float:
    """Multiplications and additions of forward and backward, words looked up not counted: 6 per weight and token,
    and 12 · layers · width · tokens² for attention (Kaplan et al. 2020; Chowdhery et al. 2022, appendix B).
    """
    from tests.benchmarks.bench_loop import NLI
    from trainables.data.rows import rows

    layers, width, feed_forward = 12, 768, 3072
    weights = layers * (4 * width**2 + 2 * width * feed_forward)
    tokens = float(rows(NLI, "train", None, of.encoder).lengths.mean())
    return 6 * weights * tokens + 12 * layers * width * tokens**2


def resumes_to_the_same_bits(folder: Path) -> bool:
    from safetensors.torch import load_file

    from trainables.inflight import LocalCheckpoints
    from trainables.training.loop import run_stage

    of = stage(folder, steps=24)
    run_stage(of, parent=None, output=folder / "whole")
    checkpoints = LocalCheckpoints(folder / "running", interval_steps=10**6)
    asked = iter(range(10**6))
    run_stage(of, parent=None, output=folder / "part", checkpoints=checkpoints, cancelled=lambda: next(asked) >= 2)
    run_stage(of, parent=None, output=folder / "part", checkpoints=checkpoints)
    files = ("model.safetensors", "extras.safetensors")
    pairs = [(load_file(folder / "whole" / name), load_file(folder / "part" / name)) for name in files]
    return all(torch.equal(left[name], right[name]) for left, right in pairs for name in left)


def two_gangs(folder: Path) -> list[float]:
    command = [sys.executable, "-m", "tests.benchmarks.bench_gpu", "--worker", str(folder)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) for _ in range(2)]
    return [float(process.communicate()[0].splitlines()[-1]) for process in both]


def beside_trainer(folder: Path) -> None:
    of = stage(folder)
    found: dict[str, list[float]] = {"ours": [], "fast": [], "Trainer": []}
    loose = replace(of, shape=replace(of.shape, deterministic=False))
    peak = 0.0
    for _ in range(RUNS):
        torch.cuda.reset_peak_memory_stats()
        found["ours"].append(ours(of, folder / "ours"))
        peak = torch.cuda.max_memory_allocated() / 2**30
        found["fast"].append(ours(loose, folder / "loose"))
        found["Trainer"].append(theirs(of, folder / "theirs"))
    median = {name: sorted(values)[RUNS // 2] for name, values in found.items()}
    device = torch.cuda.get_device_name()
    peak_flops = next((flops for part, flops in PEAK_FLOPS.items() if part in device), None)
    achieved = median["ours"] * flops_per_example(of)
    print(f"{device}, torch {torch.__version__}: XLM-R base, bfloat16, batch {BATCH}, {RUNS} x {STEPS - WARM} steps")
    print(f"  run_stage, deterministic      {median['ours']:8.0f} examples/s   {json.dumps(found['ours'])}")
    print(f"  run_stage, not deterministic  {median['fast']:8.0f} examples/s")
    ratio = median["ours"] / median["Trainer"]
    print(f"  Trainer, all off              {median['Trainer']:8.0f} examples/s   ratio {ratio:.2f}")
    share = f"{achieved / peak_flops:.1%} of the stated peak" if peak_flops else "peak of this device not known"
    print(f"  model FLOPs                   {achieved / 1e12:8.1f} TFLOP/s       {share}")
    print(f"  peak memory                   {peak:8.1f} GiB")
    print(f"  cancelled, resumed, same bits {resumes_to_the_same_bits(folder)!s:>8}")
    rates = two_gangs(folder)
    ratio = sum(rates) / median["ours"]
    print(f"  two gangs on one GPU          {sum(rates):8.0f} examples/s   ratio to one {ratio:.2f}")


#: Encoder, precision, and what else differs; in batches of 32.
CASES = (
    ("XLM-R base", "bfloat16", {}),
    ("XLM-R base", "float16", {}),
    ("XLM-R base", "float32", {}),
    ("mBERT", "bfloat16", {}),
    ("mmBERT base", "bfloat16", {}),
    ("XLM-R large", "bfloat16", {}),
    ("XLM-R large", "bfloat16", {"gradient_checkpointing": True}),
)

TOKENS = 384


def long_pairs(folder: Path):
    """An own text-pair task of random words, 77 to 384 tokens an example, as `sweep plan` supposes on the mean."""
    import numpy as np

    from trainables.catalogue.task import NLI_LABELS
    from trainables.catalogue.xtreme_m import text_pair_task
    from trainables.data.tokens import lab_forms

    random = np.random.default_rng(0)
    words = sorted(form for form in lab_forms()["en"] if form.isalpha())
    rows = []
    for number in range(1024):
        said = random.choice(words, int(random.integers(TOKENS // 5, TOKENS)))
        row = {"premise": " ".join(said[:-20]), "hypothesis": " ".join(said[-20:]), "label": NLI_LABELS[number % 3]}
        rows.append(json.dumps(row))
    (folder / "long.jsonl").write_text("\n".join(rows))
    return text_pair_task("long", train=folder / "long.jsonl")


def full_sizes(folder: Path) -> None:
    from sweep.plan import estimated_seconds, parameters
    from trainables.data.rows import rows
    from trainables.stages import Portion, Training

    task, made = long_pairs(folder), {}
    print(
        f"{'encoder':<12} {'precision':<9} {'recomputed':<10} {'examples/s':>10} {'TFLOP/s':>8} {'GiB':>6} "
        f"{'as planned':>10}"
    )
    for name, precision, changes in CASES:
        if name not in made:
            made = {name: encoder(folder, name, TOKENS)}
        of = stage(folder, steps=60)
        assert isinstance(of.work, Training)
        settings = replace(of.work.settings, batch_size=32, **changes)
        of = replace(
            of,
            encoder=made[name],
            work=Training(settings=settings, portions=(Portion(task=task, steps=60),)),
            shape=replace(of.shape, precision=precision),
        )
        torch.cuda.reset_peak_memory_stats()
        rate = ours(of, folder / "full", batch=32)
        tokens = float(rows(task, "train", None, of.encoder).lengths.mean())
        planned = 60 * 32 / estimated_seconds(of)
        achieved = rate * 6.0 * parameters(of.encoder) * tokens  # words looked up and attention's own not counted
        print(
            f"{name:<12} {precision:<9} {'yes' if changes else 'no':<10} {rate:>10.0f} {achieved / 1e12:>8.1f} "
            f"{torch.cuda.max_memory_allocated() / 2**30:>6.1f} {planned:>10.0f}   mean {tokens:.0f} tokens",
            flush=True,
        )
        torch.cuda.empty_cache()
    print(images_per_second(folder))


def images_per_second(folder: Path) -> str:
    from transformers import SiglipImageProcessorPil, SiglipVisionConfig, SiglipVisionModel

    from tests.torch_cpu import towers
    from trainables.catalogue.encoder import LocalEncoder, Tower
    from trainables.data import tower

    config = SiglipVisionConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        image_size=224,
        patch_size=16,
    )
    SiglipVisionModel(config).save_pretrained(folder / "tower")
    SiglipImageProcessorPil(size={"height": 224, "width": 224}).save_pretrained(folder / "tower")
    make = tower.features(Tower(model=LocalEncoder(path=str(folder / "tower")), grid=7))
    pictures = [towers.picture(seed, 300, 400) for seed in range(512)]
    make(pictures[:64])
    begin = time.perf_counter()
    for first in range(0, len(pictures), 64):
        make(pictures[first : first + 64])
    rate = len(pictures) / (time.perf_counter() - begin)
    return f"features of 12 layers of 768, 224 x 224, float32, one process: {rate:.0f} images/s"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--part", type=int, choices=(1, 2), default=0)
    options.add_argument("--worker", default="", help=argparse.SUPPRESS)
    given = options.parse_args()
    if not torch.cuda.is_available():
        print(
            "bench_gpu needs one CUDA GPU with bfloat16 and 24 GiB, and torch built for CUDA; found none",
            file=sys.stderr,
        )
        raise SystemExit(2)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if given.worker:
        with tempfile.TemporaryDirectory() as output:
            print(ours(stage(Path(given.worker)), Path(output)))
        return
    with tempfile.TemporaryDirectory() as name:
        if given.part != 2:
            beside_trainer(Path(name))
        if given.part != 1:
            full_sizes(Path(name))


if __name__ == "__main__":
    main()
