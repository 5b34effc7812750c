"""Where a model is fitted: on what, in how many processes, in which precision."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

import torch
import torch.distributed

from spedge.base.errors import UsageError

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
ACCELERATORS = ("auto", "cpu", "gpu")
_OF_NODES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Machine:
    """What was asked for. accelerator: one of ACCELERATORS. devices: GPUs, or processes on a CPU; nodes: machines;
    None: one, or what torchrun started."""

    accelerator: str = "auto"
    devices: int | None = None
    nodes: int | None = None


@dataclass(frozen=True)
class Place:
    """What it comes to, seen by one process. devices: processes on each machine. local: number among those.

    started: by torchrun or another launcher; else the first process of a machine has to start the others.
    """

    gpu: bool
    precision: str
    devices: int
    nodes: int
    node: int
    local: int
    started: bool

    @property
    def processes(self) -> int:
        """In all."""
        return self.devices * self.nodes

    @property
    def rank(self) -> int:
        """Number among all processes; the first one writes."""
        return self.node * self.devices + self.local


def place_of(machine: Machine, precision: str) -> Place:
    """Where this process fits. Raises UsageError for what there is not, or what does not go together."""
    if machine.accelerator not in ACCELERATORS:
        raise UsageError(f"There is no accelerator '{machine.accelerator}'. Choose one of: {', '.join(ACCELERATORS)}.")
    gpu = machine.accelerator != "cpu" and torch.cuda.is_available()
    if machine.accelerator == "gpu" and not gpu:
        raise UsageError("There is no GPU that torch can use: train with --accelerator cpu.")
    devices, nodes = _counts(machine)
    _require(devices, gpu)
    started = "LOCAL_RANK" in os.environ
    node = int(os.environ.get("GROUP_RANK", os.environ.get("NODE_RANK", 0)))
    return Place(gpu, _precision(precision, gpu), devices, nodes, node, int(os.environ.get("LOCAL_RANK", 0)), started)


def _counts(machine: Machine) -> tuple[int, int]:
    if torch.distributed.is_torchelastic_launched():
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // here
        if machine.devices not in (None, here) or machine.nodes not in (None, nodes):
            raise UsageError(
                f"torchrun started {here} processes on each of {nodes} machines: leave --devices and --nodes out."
            )
        return here, nodes
    devices, nodes = machine.devices or 1, machine.nodes or 1
    missing = [name for name in _OF_NODES if name not in os.environ] if nodes > 1 else []
    if missing:
        raise UsageError(
            f"--nodes {nodes} needs {' and '.join(missing)} in the environment: start it with torchrun on each "
            "machine, or set MASTER_ADDR and MASTER_PORT to where the first one listens, and NODE_RANK to 0, 1, ..."
        )
    return devices, nodes


def _require(devices: int, gpu: bool) -> None:
    if gpu and devices > torch.cuda.device_count():
        raise UsageError(f"--devices {devices} is more than the {torch.cuda.device_count()} GPUs that there are.")
    cores = max(2, os.cpu_count() or 1)  # two processes can be tried on one core
    if not gpu and devices > cores:
        raise UsageError(f"--devices {devices} is more than the {cores} processes that this machine's cores can run.")


def _precision(asked: str, gpu: bool) -> str:
    """The one that is trained in; says so when it is another one than was asked for."""
    if asked not in PRECISIONS:
        raise UsageError(f"There is no precision '{asked}'. Choose one of: {', '.join(PRECISIONS)}.")
    if asked != "fp16" or gpu:
        return asked
    if os.environ.get("LOCAL_RANK", "0") == "0":
        _log.warning("fp16 is for GPUs: training in fp32.")
    return "fp32"
