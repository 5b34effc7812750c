"""What answers on a port or at another address."""

from __future__ import annotations

from dataclasses import dataclass

from spedge.base.errors import DeviceError, UsageError
from spedge.boards.ports import Port
from spedge.device.open import Device
from spedge.link.link import Timeouts
from spedge.link.protocol import Hello
from spedge.link.transport import BAUD
from spedge.sources.usb import PluggedIn, list_cameras

PROBE = Timeouts(resend_most=0.4, silence=1.0, reconnect=0.0)


@dataclass(frozen=True)
class Probe:
    """What answered on a port: hello, or why there is none."""

    port: Port
    hello: Hello | None
    problem: str | None


def cameras() -> list[PluggedIn] | None:
    """Those that can be sources; None without the package that knows them."""
    try:
        return list_cameras()
    except UsageError:
        return None


def probe(port: Port, baud: int = BAUD) -> Probe:
    """Say HELLO on a port, for about a second; a device that another program has is left to it.

    Opening a port resets some boards.
    """
    try:
        with Device.open(port.device, baud=baud, timeouts=PROBE, yields=True) as device:
            return Probe(port, device.hello, None)
    except DeviceError as error:
        return Probe(port, None, str(error))
