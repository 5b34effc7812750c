"""Boards of this machine that run firmware/bench/model: the model alone, rows in, logits and what they cost out."""

from __future__ import annotations

import contextlib
import functools
import re
import struct
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spedge.base.children import guarded
from spedge.base.errors import DeviceError, DeviceGone, DeviceRefused, DeviceTimeout, UsageError
from spedge.boards.build import build
from spedge.boards.launch import require_emulator, running
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


#: Lines of the emulator's log: a translated block is run, and one that was announced is not run after all.
_RUN = re.compile(rb"^Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/", re.MULTILINE)
_NOT_RUN = re.compile(rb"^Stopped execution of TB chain before \S+ \[([0-9a-f]+)\]", re.MULTILINE)


@dataclass(frozen=True)
class Execution:
    """What an emulator ran: the image, by address how often it came there from a branch, and what a program wrote."""

    image: Path
    starts: Mapping[int, int]
    output: bytes = b""


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

    def trace(
        self, bundle: Bundle, precision: str, cases: Sequence[Rows], model: Path | None = None, within: str = ""
    ) -> Execution:
        """As `run`, and count what is executed of the functions whose names match `within`.

        Raises UsageError for a board that no QEMU emulates.
        """
        if self.board.emulator is None:
            raise UsageError(f"what {self.name} executes cannot be counted: that takes a board in QEMU")
        image = build(self.board, bundle, lambda _: None, precision, "bench/model", model=model).path
        with _tracing(image, within) as (arguments, starts):
            run_on_board(self.board, image, bundle, cases, tracing=arguments)
            return Execution(image, starts())

    def execute(self, program: Path, arguments: Sequence[str], given: bytes, within: str, core: str) -> Execution:
        """Run a program of Linux that ends by itself, on a core as the emulator names it, with `given` to read, and
        count what is executed of the functions whose names match `within`.

        Raises UsageError for a board that is no program in QEMU, DeviceError where the program fails.
        """
        emulator = self.board.process.emulator if self.board.process else None
        if emulator is None:
            raise UsageError(f"{self.name} is no program in QEMU: what it executes cannot be counted")
        require_emulator(self.board, emulator)
        with _tracing(program, within) as (tracing, starts):
            command = [emulator, "-cpu", core, *tracing, str(program), *arguments]
            done = subprocess.run(guarded(command), input=given, capture_output=True, timeout=_SECONDS, check=False)
            if done.returncode:
                said = done.stderr.decode(errors="replace").strip()
                raise DeviceRefused(f"{program.name} on {core} ended with status {done.returncode}: {said}")
            return Execution(program, starts(), done.stdout)


@contextlib.contextmanager
def _tracing(image: Path, within: str) -> Iterator[tuple[list[str], Callable[[], Mapping[int, int]]]]:
    """Arguments that have an emulator write down what it executes of functions, and the counts once it has ended."""
    with tempfile.TemporaryDirectory(prefix="spedge-") as folder:
        log = Path(folder) / "log"
        ranges = ",".join(f"{start:#x}+{size:#x}" for start, size in _functions(image, within))

        def starts() -> Mapping[int, int]:
            said = log.read_bytes()
            found = Counter(int(at, 16) for at in _RUN.findall(said))
            found.subtract(int(at, 16) for at in _NOT_RUN.findall(said))
            return found

        yield ["-d", "exec,nochain", "-D", str(log), "-dfilter", ranges], starts


@functools.lru_cache(maxsize=8)
def _functions(image: Path, names: str) -> list[tuple[int, int]]:
    """Address and size of the functions of an image whose names match; what is at a path stays the same."""
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    with image.open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        found = [s for s in table.iter_symbols() if s["st_info"]["type"] == "STT_FUNC" and re.fullmatch(names, s.name)]
        return sorted({(s["st_value"] & ~1, max(s["st_size"], 1)) for s in found})


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
    board: Board,
    image: Path,
    bundle: Bundle,
    cases: Sequence[Rows],
    repeats: int = 1,
    probes: int = 0,
    tracing: Sequence[str] = (),
) -> list[Run]:
    """Run the bench program `image` on each case, float32 [n, hidden]; of `repeats` runs the cheapest counts.

    probes: how many kernel calls the image's model measures. tracing: more arguments of the board's emulator.
    """
    runs = []
    with running(board, image, tracing) as (transport, obituary):
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
