"""What images take, held against what is recorded in budgets.json.

python -m tests.emulated.budgets [BOARD ...] records it anew: of all boards, or of those alone.

Of each board and model: flash, RAM that is never given back, the arena, the deepest stack. One that takes more fails,
and so does a record of long ago: the change that makes an image larger or 5 % smaller records it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from spedge.base.paths import assets_dir
from spedge.boards.build import Firmware, build, image_size
from spedge.boards.manifest import list_boards, load_board
from spedge.boards.stack import worst_stack
from spedge.model.bundle import Bundle
from tests.tiny import build_firmware, model_source, tiny_bundle

RECORD = Path(__file__).with_name("budgets.json")
SHIPPED = ("gestures-320", "gestures-pico", "nmnist-pico")
SMALL = ("netduinoplus2", "netduinoplus2-usb")  # the shipped models take more RAM than these have
BARE = tuple(board.name for board in list_boards() if board.runs != "process")


def compiler_of(board: str) -> tuple[str, str]:
    """The board's compiler, and its version."""
    program = next(tool.program for tool in load_board(board).requires if tool.program.endswith("gcc"))
    said = subprocess.run([program, "-dumpfullversion"], capture_output=True, text=True, check=True).stdout
    return program, said.strip()


def sizes(board: str, image: Path, arena: int | None = None) -> dict[str, int]:
    """Bytes, as recorded. arena: of a compiled model."""
    flash, ram = image_size(image)
    stack = worst_stack(load_board(board), image)
    assert stack
    found = {"flash_bytes": flash, "ram_bytes": ram, "stack_bytes": stack.bytes}
    return found | ({} if arena is None else {"arena_bytes": arena})


def sizes_of(firmware: Firmware) -> dict[str, int]:
    arena = firmware.report["arena_bytes"]
    assert isinstance(arena, int)
    return sizes(firmware.board.name, firmware.path, arena)


def require_within(board: str, model: str, found: dict[str, int]) -> None:
    """Skips where the record was made by another compiler."""
    recorded = json.loads(RECORD.read_text())
    program, version = compiler_of(board)
    if version != recorded["compilers"].get(program):
        pytest.skip(f"no sizes are recorded for {program} {version}")
    budget = recorded["images"][board][model]
    assert found.keys() == budget.keys()
    for what, size in found.items():
        told = f"{model} on {board}: {what} is {size}, recorded {budget[what]}"
        assert 0.95 * budget[what] < size <= budget[what], f"{told} (python -m tests.emulated.budgets records it)"


def _record(boards: Sequence[str]) -> None:
    images: dict[str, dict[str, dict[str, int]]] = {}
    if boards != BARE:
        images = {name: sized for name, sized in json.loads(RECORD.read_text())["images"].items() if name in BARE}
    with tempfile.TemporaryDirectory() as scratch:
        tiny = tiny_bundle(Path(scratch, "bundle"))
        for board in boards:
            image = build_firmware(board, Path(scratch, board), model_source(tiny))
            images[board] = {"tiny": sizes(board, image)}
            for name in SHIPPED if board not in SMALL else ():
                images[board][name] = sizes_of(build(load_board(board), Bundle.load(assets_dir() / name), print))
    compilers = dict(sorted(compiler_of(board) for board in BARE))
    RECORD.write_text(json.dumps({"compilers": compilers, "images": dict(sorted(images.items()))}, indent=2) + "\n")


if __name__ == "__main__":
    from tests import conftest  # noqa: F401  # builds as tests do, without warnings

    _record(tuple(sys.argv[1:]) or BARE)
