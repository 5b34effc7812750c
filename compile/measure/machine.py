"""What runs a compiled model and says what that cost. Whoever measures brings it: the compiler knows no boards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from spedge.model.bundle import Bundle


class Run(Protocol):
    """One inference: its cost, float32 logits [classes], and the cost of each probed kernel call."""

    @property
    def cost(self) -> int:
        """In the machine's unit."""

    @property
    def logits(self) -> NDArray[np.float32]:
        """What the model gave."""

    @property
    def probes(self) -> tuple[int, ...]:
        """By kernel call."""


class Execution(Protocol):
    """What an emulator ran: the image, by address how often it came there from a branch, and what it wrote."""

    @property
    def image(self) -> Path:
        """An ELF file."""

    @property
    def starts(self) -> Mapping[int, int]:
        """By address."""

    @property
    def output(self) -> bytes:
        """Of a program that ended by itself."""


class Machine(Protocol):
    """A machine of one core."""

    @property
    def name(self) -> str:
        """As in messages."""

    @property
    def target(self) -> str:
        """The name of its core in TARGETS."""

    @property
    def cost_unit(self) -> str:
        """instructions, which are exact, or ns."""

    def run(
        self,
        bundle: Bundle,
        precision: str,
        cases: Sequence[NDArray[np.float32]],
        model: Path | None = None,
        repeats: int = 1,
        probes: int = 0,
    ) -> Sequence[Run]:
        """Run the bundle's model, or the compiled folder `model`, on each case, float32 [n, hidden].

        Of `repeats` runs the cheapest counts. probes: kernel calls that the folder's model measures.
        Raises DeviceError when the model cannot be built or run.
        """

    def trace(
        self,
        bundle: Bundle,
        precision: str,
        cases: Sequence[NDArray[np.float32]],
        model: Path | None = None,
        within: str = "",
    ) -> Execution:
        """As `run`, and count what is executed of the functions whose names match the expression `within`.

        Raises UsageError where nothing can be counted.
        """

    def execute(self, program: Path, arguments: Sequence[str], given: bytes, within: str, core: str) -> Execution:
        """Run a program of Linux that ends by itself, on a core as the emulator names it, with `given` to read, and
        count what is executed of the functions whose names match `within`.

        Raises UsageError where nothing can be counted, DeviceError where the program fails.
        """
