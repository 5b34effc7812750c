"""Boards of this machine that run firmware/bench/model: the model alone, rows in, logits and what they cost out."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import DeviceError, DeviceGone, DeviceRefused, DeviceTimeout, UsageError
from spedge.boards.build import build
from spedge.boards.launch import running
from spedge.boards.manifest import Board, list_boards, load_board
from spedge.link.transport import Transport
from spedge.model.bundle import Bundle

_REPLY = struct.Struct("<IiQI")
_MAGIC = 0x43504253
_SECONDS = 120.0  #: without a byte from the board

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Run:
    """What a board answered: cost in its unit, bytes of stack, float32 logits [classes], cost of each probed call."""

    cost: int
    stack_bytes: int
    logits: NDArray[np.float32]
    probes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Machine:
    """A board as what measures compiled models."""

    board: Board

    @property
    def name(self) -> str:
        """The board's."""
        return self.board.name

    @property
    def target(self) -> str:
        """What models are compiled for."""
        return self.board.target

    @property
    def cost_unit(self) -> str:
        """Of a run's cost: instructions or ns."""
        return self.board.cost_unit

    def run(
        self,
        bundle: Bundle,
        precision: str,
        cases: Sequence[Rows],
        model: Path | None = None,
        repeats: int = 1,
        probes: int = 0,
    ) -> list[Run]:
        """Build the bundle's model, or the folder `model` in its place, and run it as `run_on_board` does."""
        image = build(self.board, bundle, lambda _: None, precision, "bench/model", model=model).path
        return run_on_board(self.board, image, bundle, cases, repeats, probes)


def find_machine(target: str) -> Machine:
    """An emulated or simulated board with the target's core, whose tools are installed. Raises UsageError."""
    counted = [b for b in list_boards() if b.runs != "serial" and b.cost_unit == _unit(b.target)]
    boards = [b for b in counted if b.target == target]
    if not boards:
        known = ", ".join(dict.fromkeys(b.target for b in counted))
        raise UsageError(f"no emulated board counts the instructions of {target}: these can be tuned: {known}")
    for board in boards:
        if not board.missing:
            return Machine(board)
    raise UsageError(f"tuning {target} needs {boards[0].name}, whose tools are missing: {boards[0].bring}")


def _unit(target: str) -> str:
    return "ns" if target == "native" else "instructions"


def load_machine(name: str) -> Machine:
    """A board by its name. Raises UsageError for one that there is not."""
    return Machine(load_board(name))


def run_on_board(
    board: Board, image: Path, bundle: Bundle, cases: Sequence[Rows], repeats: int = 1, probes: int = 0
) -> list[Run]:
    """Run the bench program `image` on each case, float32 [n, hidden]; of `repeats` runs the cheapest counts.

    probes: how many kernel calls the image's model measures.
    """
    runs = []
    with running(board, image) as (transport, obituary):
        try:
            for rows in cases:
                request = struct.pack("<I", len(rows)) + rows.astype("<f4").tobytes()
                tries = [_exchange(transport, request, len(bundle.labels), probes) for _ in range(repeats)]
                runs.append(min(tries, key=lambda run: run.cost))
        except DeviceError as error:
            if reason := obituary():
                raise DeviceGone(reason) from error
            raise
    return runs


def _exchange(transport: Transport, request: bytes, classes: int, probes: int) -> Run:
    out, received = request, b""
    wanted = _REPLY.size
    deadline = time.monotonic() + _SECONDS
    while len(received) < wanted:
        written, got = transport.exchange(out, 0.1)
        out, received = out[written:], received + got
        if written or got:
            deadline = time.monotonic() + _SECONDS
        elif time.monotonic() > deadline:
            raise DeviceTimeout(f"{transport.name} did not answer for {_SECONDS:.0f} seconds")
        if len(received) >= _REPLY.size:
            magic, status, cost, stack = _REPLY.unpack_from(received)
            if magic != _MAGIC or status != 0:
                raise DeviceRefused(f"{transport.name} could not run the model (status {status}, detail {cost:x})")
            wanted = _REPLY.size + 4 * (classes + probes)
    logits = np.frombuffer(received, "<f4", classes, _REPLY.size).astype(np.float32)
    costs = np.frombuffer(received, "<u4", probes, _REPLY.size + 4 * classes).tolist()
    return Run(cost, stack, logits, tuple(costs))
