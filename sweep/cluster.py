"""How large a cluster a sweep needs, counted from its definition; knows no configuration format and starts nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sweep.definition import Sweep
from sweep.plan import all_parameters, trunk_sizes
from trainables.faults import Invalid, refuse

#: Bytes per trained parameter: float32 weight and gradient, and AdamW's two float32 moments.
BYTES_PER_PARAMETER = 16

#: What a GPU process holds before any model: the CUDA context, cuBLAS workspaces and the allocator's slack.
GPU_OVERHEAD_GIGABYTES = 2.0

#: What a worker process holds in main memory before any model: Python, torch, tokenised rows.
PROCESS_GIGABYTES = 4.0

#: Processors of one's own that a GPU worker should have: one computes, one reads ahead, Ray needs some.
PROCESSORS_PER_GPU = 4


#: What the head holds in main memory: Ray, the dispatcher and the driver; then, for each gang, two trials, the gang's
#: host and Ray Train's controller, which were seen to hold 0.1 to 0.4 GB each.
HEAD_GIGABYTES = 4.0
HEAD_GIGABYTES_PER_GANG = 1.0


class Provider(StrEnum):
    """Whose machines they are."""

    AWS = "aws"
    GCP = "gcp"
    LOCAL = "local"
    KUBERAY = "kuberay"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A type of machine that can be rented. `accelerator` is Ray's name for its GPU, empty where it has none."""

    name: str
    processors: int
    gigabytes: int
    gpus: int = 0
    accelerator: str = ""
    gpu_gigabytes: int = 0


#: Smallest first: the first one that fits is chosen. GPUs older than Ampere are left out, since they have no bfloat16.
#: Sizes are the providers' published ones; those of p5.4xlarge were written down from memory.
MACHINES: dict[Provider, tuple[Machine, ...]] = {
    Provider.AWS: (
        Machine(name="m7i.large", processors=2, gigabytes=8),
        Machine(name="m7i.xlarge", processors=4, gigabytes=16),
        Machine(name="m7i.2xlarge", processors=8, gigabytes=32),
        Machine(name="m7i.4xlarge", processors=16, gigabytes=64),
        Machine(name="m7i.8xlarge", processors=32, gigabytes=128),
        Machine(name="m7i.16xlarge", processors=64, gigabytes=256),
        Machine(name="g5.xlarge", processors=4, gigabytes=16, gpus=1, accelerator="A10G", gpu_gigabytes=24),
        Machine(name="g5.2xlarge", processors=8, gigabytes=32, gpus=1, accelerator="A10G", gpu_gigabytes=24),
        Machine(name="g6e.2xlarge", processors=8, gigabytes=64, gpus=1, accelerator="L40S", gpu_gigabytes=48),
        Machine(name="p5.4xlarge", processors=16, gigabytes=256, gpus=1, accelerator="H100", gpu_gigabytes=80),
        Machine(name="g5.12xlarge", processors=48, gigabytes=192, gpus=4, accelerator="A10G", gpu_gigabytes=24),
        Machine(name="g6e.12xlarge", processors=48, gigabytes=384, gpus=4, accelerator="L40S", gpu_gigabytes=48),
        Machine(name="g5.48xlarge", processors=192, gigabytes=768, gpus=8, accelerator="A10G", gpu_gigabytes=24),
        Machine(name="g6e.48xlarge", processors=192, gigabytes=1536, gpus=8, accelerator="L40S", gpu_gigabytes=48),
        Machine(name="p5.48xlarge", processors=192, gigabytes=2048, gpus=8, accelerator="H100", gpu_gigabytes=80),
    ),
    Provider.GCP: (
        Machine(name="n2-standard-2", processors=2, gigabytes=8),
        Machine(name="n2-standard-4", processors=4, gigabytes=16),
        Machine(name="n2-standard-8", processors=8, gigabytes=32),
        Machine(name="n2-standard-16", processors=16, gigabytes=64),
        Machine(name="n2-standard-32", processors=32, gigabytes=128),
        Machine(name="n2-standard-64", processors=64, gigabytes=256),
        Machine(name="g2-standard-4", processors=4, gigabytes=16, gpus=1, accelerator="L4", gpu_gigabytes=24),
        Machine(name="g2-standard-8", processors=8, gigabytes=32, gpus=1, accelerator="L4", gpu_gigabytes=24),
        Machine(name="a2-highgpu-1g", processors=12, gigabytes=85, gpus=1, accelerator="A100", gpu_gigabytes=40),
        Machine(name="a2-ultragpu-1g", processors=12, gigabytes=170, gpus=1, accelerator="A100", gpu_gigabytes=80),
        Machine(name="g2-standard-24", processors=24, gigabytes=96, gpus=2, accelerator="L4", gpu_gigabytes=24),
        Machine(name="a2-highgpu-2g", processors=24, gigabytes=170, gpus=2, accelerator="A100", gpu_gigabytes=40),
        Machine(name="g2-standard-48", processors=48, gigabytes=192, gpus=4, accelerator="L4", gpu_gigabytes=24),
        Machine(name="a2-highgpu-4g", processors=48, gigabytes=340, gpus=4, accelerator="A100", gpu_gigabytes=40),
        Machine(name="g2-standard-96", processors=96, gigabytes=384, gpus=8, accelerator="L4", gpu_gigabytes=24),
        Machine(name="a2-highgpu-8g", processors=96, gigabytes=680, gpus=8, accelerator="A100", gpu_gigabytes=40),
        Machine(name="a3-highgpu-8g", processors=208, gigabytes=1872, gpus=8, accelerator="H100", gpu_gigabytes=80),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Need:
    """What the gangs of a sweep ask of the machines under them."""

    sweep: str
    gangs: int
    workers: int
    """Of each gang."""
    gpus_per_worker: float
    processors_per_worker: float
    gpu_gigabytes: float
    """Of each worker, on the GPU; 0 without one."""
    gigabytes: float
    """Of each worker, in main memory."""
    accelerator: str = ""
    """The only GPU that will do, by Ray's name; empty where any is welcome."""

    @property
    def gpus_per_gang(self) -> float:
        """GPUs that one gang holds."""
        return self.workers * self.gpus_per_worker


#: One gang per 24 GB GPU, eight of them: what `cluster.yaml` is made for.
USUAL = Need(
    sweep="any sweep whose gangs are one GPU of at most 24 GB each",
    gangs=8,
    workers=1,
    gpus_per_worker=1.0,
    processors_per_worker=1.0,
    gpu_gigabytes=21.0,
    gigabytes=12.0,
)


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Machines of one type, and how many of them hold all the gangs of a need."""

    need: Need
    machine: Machine
    nodes: int
    workers_per_node: int

    @property
    def workers(self) -> int:
        """Workers that the machines have room for, where the need has `gangs` times `workers`."""
        return self.nodes * self.workers_per_node


def need_together(name: str, needs: Sequence[Need]) -> Need:
    """The largest need of several, of everything: machines for sweeps that run one after the other.

    Raises:
        Invalid: where they name different accelerators, or some use GPUs and some do not.
    """
    named = sorted({need.accelerator for need in needs if need.accelerator})
    kinds = {need.gpus_per_worker > 0 for need in needs}
    faults = []
    if len(named) > 1:
        faults.append(f"its sweeps must name one accelerator, got {', '.join(named)}; make a cluster for each sweep")
    if len(kinds) > 1:
        faults.append("all of its sweeps must use GPUs or none, got some of each; make a cluster for each sweep")
    refuse(f"a cluster for {name}", faults)
    return Need(
        sweep=name,
        gangs=max(need.gangs for need in needs),
        workers=max(need.workers for need in needs),
        gpus_per_worker=max(need.gpus_per_worker for need in needs),
        processors_per_worker=max(need.processors_per_worker for need in needs),
        gpu_gigabytes=max(need.gpu_gigabytes for need in needs),
        gigabytes=max(need.gigabytes for need in needs),
        accelerator="".join(named),
    )


def need_of(sweep: Sweep) -> Need:
    """What the sweep's gangs need, from the encoder's size and the largest batch; an estimate on the safe side."""
    gangs = sweep.gangs
    total = all_parameters(sweep.encoder)
    weights = total * BYTES_PER_PARAMETER / 1e9
    on_gpu = gangs.gpus_per_worker > 0
    work = weights + _activation_gigabytes(sweep)
    return Need(
        sweep=f"sweep {sweep.name!r} (encoder {sweep.encoder.name}, {total / 1e6:,.1f} million parameters)",
        gangs=gangs.count,
        workers=gangs.workers,
        gpus_per_worker=gangs.gpus_per_worker,
        processors_per_worker=max(gangs.cpus_per_worker, gangs.threads, PROCESSORS_PER_GPU * gangs.gpus_per_worker),
        gpu_gigabytes=GPU_OVERHEAD_GIGABYTES + work if on_gpu else 0.0,
        gigabytes=PROCESS_GIGABYTES + (total * 12 / 1e9 if on_gpu else work),
        accelerator=gangs.accelerator,
    )


def _activation_gigabytes(sweep: Sweep) -> float:
    """Bytes that the widest backward pass keeps: tokens × width × layers × 34, plus attention's 5 × heads × tokens.

    Korthikanti et al. 2022, equation 1, for 16-bit activations; float32 keeps twice that and is assumed.
    """
    layers, width, heads = trunk_sizes(sweep.encoder)
    length = sweep.encoder.maximum_tokens
    settings = [sweep.target_settings, sweep.intermediate_settings]
    settings += [preparation.settings for preparation in sweep.preparations]
    rows = max(one.batch_size // (sweep.gangs.workers * one.accumulation_steps) for one in settings if one)
    return 2 * rows * length * layers * (34 * width + 5 * heads * length) / 1e9


def fleet(need: Need, provider: Provider) -> Fleet:
    """The smallest machines of a provider that hold the gangs, and how many.

    A gang that fits on one machine gets one; a larger one is spread over several.

    Raises:
        Invalid: where no machine of the provider holds a single worker.
    """
    kind = [m for m in MACHINES[provider] if (m.gpus > 0) == (need.gpus_per_worker > 0)]
    kind = [m for m in kind if not need.accelerator or m.accelerator == need.accelerator]
    fitting = [(machine, _workers_on(machine, need)) for machine in kind]
    whole = [pair for pair in fitting if pair[1] >= need.workers]
    partly = sorted((pair for pair in fitting if pair[1]), key=lambda pair: -pair[1])
    if not partly:
        wanted = f"{need.gpu_gigabytes:.0f} GB of GPU memory" if need.gpus_per_worker else f"{need.gigabytes:.0f} GB"
        names = ", ".join(sorted({m.accelerator or m.name for m in MACHINES[provider]}))
        accelerator = f" on accelerator {need.accelerator!r}" if need.accelerator else ""
        raise Invalid(
            f"a cluster on {provider} for {need.sweep}",
            [
                f"one worker must fit on a machine: it needs {wanted}{accelerator}, {need.gpus_per_worker:g} GPU and "
                f"{need.processors_per_worker:g} processors, got none that has it among {names}; "
                "raise accumulation_steps, use more workers, or another accelerator"
            ],
        )
    machine, workers = (whole or partly)[0]
    if whole:
        nodes = math.ceil(need.gangs / (workers // need.workers))
    else:
        nodes = need.gangs * math.ceil(need.workers / workers)
    return Fleet(need=need, machine=machine, nodes=nodes, workers_per_node=workers)


def head_gigabytes(need: Need) -> float:
    """Main memory that the head needs; it grows with the gangs."""
    return HEAD_GIGABYTES + HEAD_GIGABYTES_PER_GANG * need.gangs


def head_machine(need: Need, provider: Provider) -> Machine:
    """The smallest machine of a provider without GPUs that can be the head; of at least four processors.

    Raises:
        Invalid: where the gangs are too many for any.
    """
    kinds = [machine for machine in MACHINES[provider] if not machine.gpus and machine.processors >= 4]
    fitting = [machine for machine in kinds if machine.gigabytes * 0.85 >= head_gigabytes(need)]
    if not fitting:
        most = math.floor(kinds[-1].gigabytes * 0.85 - HEAD_GIGABYTES)
        fault = (
            f"the head must hold processes of every gang, at most {most} on {kinds[-1].name}, got {need.gangs} gangs"
        )
        raise Invalid(f"a cluster on {provider} for {need.sweep}", [f"{fault}; use fewer"])
    return fitting[0]


def _workers_on(machine: Machine, need: Need) -> int:
    """How many workers one machine holds at once."""
    rooms = [
        machine.processors / max(need.processors_per_worker, 0.25),
        (machine.gigabytes * 0.85) / need.gigabytes,  # the system and Ray's object store have the rest
    ]
    if need.gpus_per_worker:
        gpu_share = min(1.0, need.gpus_per_worker)
        if need.gpu_gigabytes > 0.95 * machine.gpu_gigabytes * gpu_share:
            return 0
        per_gpu = math.floor(1 / gpu_share + 1e-9)
        rooms.append(machine.gpus * per_gpu if gpu_share < 1 else machine.gpus / need.gpus_per_worker)
    return math.floor(min(rooms) + 1e-9)
