"""Start the doubles of chips (stm32.py), each a process of its own, as the boards that have them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from spedge import cli, recordings
from spedge.device.open import Device
from spedge.link.link import Timeouts
from spedge.model.bundle import Bundle
from tests.conftest import REPOSITORY
from tests.events import scattered

#: What chip a board has, and what its crystal is.
BOARDS = {
    "netduinoplus2": ("f405", "crystal=25000000"),
    "disco-f746g": ("f746", "crystal=25000000"),
    "nucleo-h743zi2": ("h743", "crystal=8000000", "fed"),
}


class Double:
    """A board with an image in its flash."""

    def __init__(self, board: str, image: Path, *options: str) -> None:
        chip, *about = BOARDS[board]
        self.start("tests.chips.stm32", chip, str(image), *about, *options)
        self.link, self.camera = self.hear(), self.hear()

    def start(self, program: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", program, *arguments],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        _, said = self.process.communicate()
        if said and error is not None:
            print(f"the double said: {said}")

    def hear(self) -> str:
        """The next line that it says; it says why where it has ended."""
        assert self.process.stdout and self.process.stderr
        line = self.process.stdout.readline().strip()
        return line or self.process.stderr.read().strip()

    def tell(self, word: str) -> None:
        """What happens at its USB cable."""
        assert self.process.stdin
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def stack(self) -> int:
        """Bytes of stack that its program has used so far."""
        self.process.send_signal(signal.SIGUSR1)
        while not (line := self.hear()).startswith("stack"):
            assert line
        return int(line.split()[1])

    def open(self, silence: float = 5.0) -> Device:
        device = Device.open(self.link, timeouts=Timeouts(silence=silence, work=silence))
        device.camera_address = self.camera
        return device


class Pico(Double):
    """A Raspberry Pi Pico with an image in its flash, on a cable to a host (pico.py)."""

    def __init__(self, image: Path) -> None:
        self.start("tests.chips.pico", str(image))
        self.link, self.attached = self.hear(), self.hear()

    def open(self, silence: float = 60.0) -> Device:
        return Device.open(self.link, timeouts=Timeouts(silence=silence, work=silence))


def checked(bundle: Bundle, link: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """What `spedge check`, which passes, says as JSON of a recording of 1,500 events over that line."""
    recordings.write(folder / "some.npz", scattered(1500, 15_000, 1), 34, 34)
    played = ("check", bundle.path, folder / "some.npz", "--device", link, "--json")
    assert cli.execute(list(map(str, played))) == 0
    return json.loads(capsys.readouterr().out)
