"""pyOCD, by its API: debug probes, and chips of all makers by their packs. It is not let off reading back: `pyocd load`
alone takes a flipped bit in flash for success."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from spedge.base.errors import line_of
from spedge.boards.flash.image import Image
from spedge.boards.flash.programs import PLUG_IN, TROUBLES, explained
from spedge.boards.flash.way import Chip, Count, FlashError, Need, Way

if TYPE_CHECKING:
    from pyocd.core.session import Session

_PIECE_BYTES = 16 << 10  # read at once
_TROUBLES = (
    *TROUBLES,
    (r"[Pp]robe.*(gone|closed|not open)|[Tt]ransfer|no ACK|[Ff]ault", "the line to the board broke", "flash again"),
)


class PyOcd(Way):
    """Settings: "target", as pyOCD calls the chip."""

    name: ClassVar[str] = "pyocd"
    need: ClassVar[Need] = Need("pyocd", "pip install 'spedge[flash]'", module=True)

    _session: Session | None = None

    def find_tool(self) -> str:
        super().find_tool()
        from pyocd import __version__

        logging.getLogger("pyocd").setLevel(logging.CRITICAL)  # what it has to say comes as errors
        return f"pyOCD {__version__}"

    def find_chip(self) -> Chip:
        from pyocd.core.helpers import ConnectHelper
        from pyocd.core.session import Session

        with _explained("board"):
            probes = ConnectHelper.get_all_connected_probes(
                blocking=False, unique_id=self.serial, print_wait_message=False
            )
        if not probes:
            raise FlashError("board", "no debug probe was found", PLUG_IN)
        if len(probes) > 1:
            serials = ", ".join(probe.unique_id for probe in probes)
            raise FlashError("board", f"there are several probes ({serials})", "say which one by --serial")
        options = {"target_override": self.settings["target"], "connect_mode": "under-reset", "smart_flash": False}
        with _explained("board"):
            self._session = Session(probes[0], auto_open=False, options=options)
            self._session.open()
            self._target.reset_and_halt()
            identity = self._target.read32(self.about.id_at)
            kilobytes = self._target.read16(self.about.size_at)
        return Chip(identity & 0xFFF, kilobytes << 10, probes[0].unique_id, probes[0].description)

    def read(self, address: int, n: int, count: Count) -> bytes:
        found = bytearray()
        with _explained("verify"):
            while len(found) < n:
                piece = min(_PIECE_BYTES, n - len(found))
                found += bytes(self._target.read_memory_block8(address + len(found), piece))
                count(len(found))
        return bytes(found)

    def write(self, image: Image, count: Count) -> None:
        from pyocd.flash.loader import MemoryLoader

        with _explained("write"):
            loader = MemoryLoader(
                self._session,
                progress=lambda part: count(int(part * len(image.data))),
                chip_erase="sector",
                trust_crc=False,
                no_reset=True,
            )
            loader.add_data(image.address, image.data)
            loader.commit()

    def reset(self) -> None:
        with _explained("reset"):
            self._target.reset()

    def close(self) -> None:
        if self._session is not None:
            with contextlib.suppress(Exception):  # it may be gone
                self._session.close()

    @property
    def _target(self):  # type: ignore[no-untyped-def]  # what boards have differs
        assert self._session is not None and self._session.target is not None
        return self._session.target


@contextlib.contextmanager
def _explained(step: str) -> Iterator[None]:
    """pyOCD's errors, and those of what it stands on, as ours."""
    from pyocd.core.exceptions import Error

    try:
        yield
    except FlashError:
        raise
    except (Error, OSError, ValueError) as error:
        raise explained(step, "pyOCD", f"{type(error).__name__}: {line_of(error)}", _TROUBLES) from error
