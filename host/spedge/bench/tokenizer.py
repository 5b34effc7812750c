"""What the tokenizer costs: events per second on this machine, instructions per event on an emulated board."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.boards import Board
from spedge.build import build
from spedge.device.protocol import TokenizerSettings as WireSettings
from spedge.errors import CheckFailed, DeviceError, UsageError
from spedge.events import Columns, columns
from spedge.evt2 import encode
from spedge.tokenizer import Tokenizer, Tokens

REPEATS = 15
_TIMEOUT_SECONDS = 300
_POOL_EVENTS = 1 << 17  # of the board's pool: more than recordings leave pending


@dataclass(frozen=True)
class HostCost:
    """Of the quickest of REPEATS runs, one thread, from arrays to flat tokens with their events.

    times_bincount: that, as a multiple of the time of
    `np.bincount((y // 16).astype(np.int64) * columns + x // 16, minlength=patches)` on the same arrays.
    """

    events: int
    tokens: int
    seconds: float
    bincount_seconds: float

    @property
    def events_per_second(self) -> float:
        return self.events / self.seconds

    @property
    def times_bincount(self) -> float:
        return self.seconds / self.bincount_seconds


@dataclass(frozen=True)
class BoardCost:
    """Decoding EVT2 words in memory, tokenizing, and storing the events. unit: of cost."""

    events: int
    tokens: int
    cost: int
    unit: str

    @property
    def per_event(self) -> float:
        return self.cost / self.events


def host_cost(events: NDArray[Any] | Columns, make: Callable[[], Tokenizer], repeats: int = REPEATS) -> HostCost:
    """Time new tokenizers on all events at once. make: gives a new tokenizer.

    events: structured, or Columns, which are quickest as contiguous arrays of the dtypes of EVENT_DTYPE's fields.
    """
    c = columns(events)
    config = make().config
    tokens = 0

    def tokenize() -> None:
        nonlocal tokens
        tokens = len(make().push(events))

    wide = -(-config.width // 16)
    patches = wide * -(-config.height // 16)

    def count() -> None:
        np.bincount((c.y // 16).astype(np.int64) * wide + c.x // 16, minlength=patches)

    counting, tokenizing = float("inf"), float("inf")
    for _ in range(repeats):  # by turns, so that other load on the machine hits both
        counting = min(counting, _seconds(count))
        tokenizing = min(tokenizing, _seconds(tokenize))
    return HostCost(len(c.t), tokens, tokenizing, counting)


def _seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def board_cost(
    events: NDArray[Any], tokenizer: Tokenizer, board: Board, on_progress: Callable[[str], None] | None = None
) -> BoardCost:
    """Put a recording into an emulated board's memory and count what decoding and tokenizing it takes.

    tokenizer: new; its settings are the board's too. The board's tokens have to be this tokenizer's.
    Raises UsageError for a board that QEMU does not run or a recording that does not fit, CheckFailed for other tokens,
    DeviceError when the board fails, and what build.build raises.
    """
    say = on_progress or (lambda _: None)
    config = tokenizer.config
    if board.qemu is None or board.cost_unit != "instructions":
        raise UsageError(f"{board.name} cannot count instructions: choose an emulated board; see 'spedge boards'")
    firmware = build(board, None, say, program="bench/tokenizer")
    words = encode(events)
    settings = WireSettings(
        config.width,
        config.height,
        config.patch_size,
        config.threshold,
        config.absolute_refractory_us,
        config.relative_refractory_us,
        config.relative_scale,
        config.decay_per_us,
        config.kind,
        config.duration_us or 0,
    )
    pool = config.pool_events or _POOL_EVENTS
    image = b"SPB1" + struct.pack("<I", len(words)) + settings.pack() + struct.pack("<II", pool, 0) + words
    start, end = _memory(firmware.path)
    if len(image) > end - start:
        raise UsageError(
            f"the recording takes {len(image)} bytes and {board.name} has {end - start}: use a shorter one"
        )
    say(f"Tokenizing on {board.name}")
    answer = _run(board, firmware.path, image, start)
    try:
        count, tokens, lost, cost, crc = map(int, answer.split())
    except ValueError:
        raise DeviceError(f"{board.name} says: {answer.strip() or 'nothing'}") from None
    if count != len(events) or lost:
        raise DeviceError(f"{board.name} took {count} of {len(events)} events and lost {lost} to its pool of {pool}")
    expected = tokenizer.push(events)
    if (tokens, crc) != (len(expected), tokens_crc(expected)):
        raise CheckFailed(f"{board.name} made {tokens} tokens which are not the {len(expected)} tokens made here")
    return BoardCost(count, tokens, cost, board.cost_unit)


def tokens_crc(tokens: Tokens) -> int:
    """CRC-32 over each token's x u16, y u16, t u64, n u32 and its events' t u64, x u16, y u16, p u8, little-endian."""
    heads = np.empty(len(tokens), [("x", "<u2"), ("y", "<u2"), ("t", "<u8"), ("n", "<u4")])
    heads["x"], heads["y"], heads["t"], heads["n"] = tokens.x, tokens.y, tokens.t, tokens.n
    crc = 0
    for i in range(len(tokens)):
        crc = zlib.crc32(tokens.events_of(i).tobytes(), zlib.crc32(heads[i].tobytes(), crc))
    return crc


def _memory(image: Path) -> tuple[int, int]:
    """Where the port's memory is, by the symbols of the linker script."""
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    with image.open("rb") as stream:
        symbols = ELFFile(stream).get_section_by_name(".symtab")
        names = ("link_memory_start", "link_memory_end")
        found = [symbols.get_symbol_by_name(n) for n in names] if isinstance(symbols, SymbolTableSection) else [None]
    if not all(found):
        raise UsageError(f"{image} does not say where its memory for recordings is (link_memory_start)")
    return tuple(int(symbol[0]["st_value"]) for symbol in found if symbol)  # type: ignore[return-value]


def _run(board: Board, firmware: Path, image: bytes, address: int) -> str:
    """The first line that the board writes."""
    assert board.qemu is not None
    if shutil.which(board.qemu.program) is None:
        raise DeviceError(f"{board.name} needs {board.qemu.program}, which is not installed")
    guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "recording"
        data.write_bytes(image)
        qemu = board.qemu
        command = [*guard, qemu.program, "-machine", qemu.machine, "-cpu", qemu.cpu, *qemu.arguments]
        command += ["-display", "none", "-nodefaults", "-kernel", str(firmware), "-serial", "stdio"]
        command += ["-device", f"loader,file={data},addr={address:#x},force-raw=on"]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            try:
                return _line(process, board.name)
            finally:
                process.kill()


def _line(process: subprocess.Popen[bytes], name: str) -> str:
    import selectors

    assert process.stdout is not None
    give_up = time.monotonic() + _TIMEOUT_SECONDS
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(give_up - time.monotonic(), 0)):
                raise DeviceError(f"{name} did not finish within {_TIMEOUT_SECONDS} s")
            piece = process.stdout.read1(256)  # type: ignore[attr-defined]
            if not piece:
                raise DeviceError(f"{name} ended before it said anything")
            line += piece
    return line.decode("ascii", "replace")
