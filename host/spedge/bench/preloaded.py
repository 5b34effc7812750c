"""Measuring programs on emulated boards: their input is put into the board's memory before they start."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from spedge.base.children import guarded
from spedge.base.errors import DeviceGone, DeviceRefused, DeviceTimeout, UsageError
from spedge.boards import launch, qemu
from spedge.boards.build import build
from spedge.boards.manifest import Board

_TIMEOUT_SECONDS = 300


def run_preloaded(board: Board, program: str, image: bytes, on_progress: Callable[[str], None]) -> list[int]:
    """Build and run firmware/`program` with `image` in the memory of the port; the numbers that it says.

    Raises UsageError for a board that cannot count instructions or whose memory is too small, DeviceError when the
    board fails or says something else, and what build.build raises.
    """
    if board.qemu is None or board.cost_unit != "instructions":
        raise UsageError(f"{board.name} cannot count instructions: choose an emulated board; see 'spedge boards'")
    launch.require_emulator(board, board.qemu.program)
    firmware = build(board, None, on_progress, program=program)
    start, end = _memory(firmware.path)
    if len(image) > end - start:
        raise UsageError(
            f"the recording takes {len(image)} bytes and {board.name} has {end - start}: use a shorter one"
        )
    on_progress(f"Measuring on {board.name}")
    answer = _run(board, firmware.path, image, start)
    try:
        return [int(number) for number in answer.split()]
    except ValueError:
        raise DeviceRefused(f"{board.name} says: {answer.strip() or 'nothing'}") from None


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
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "recording"
        data.write_bytes(image)
        command = qemu.command(board.qemu, firmware, "-serial", "stdio", *qemu.loaded(data, address))
        with subprocess.Popen(
            guarded(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
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
                raise DeviceTimeout(f"{name} did not finish within {_TIMEOUT_SECONDS} s")
            piece = process.stdout.read1(256)  # type: ignore[attr-defined]
            if not piece:
                raise DeviceGone(f"{name} ended before it said anything")
            line += piece
    return line.decode("ascii", "replace")
