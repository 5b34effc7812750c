"""What answers on a port or at another address."""

from __future__ import annotations

from dataclasses import dataclass

from spedge.base.errors import DeviceError, UsageError
from spedge.boards.ports import Port
from spedge.device.open import Device
from spedge.link.link import Timeouts
from spedge.link.protocol import Hello
from spedge.link.transport import BAUD
from spedge.sources.openmv import USB_IDS
from spedge.sources.usb import PluggedIn, list_cameras
from spedge.sources.v4l2_device import receivers

PROBE = Timeouts(resend_most=0.4, silence=1.0, reconnect=0.0)


@dataclass(frozen=True)
class Probe:
    """What answered on a port: hello, or why there is none. source: the name of a camera there, as a source."""

    port: Port
    hello: Hello | None
    problem: str | None
    source: str | None = None


def source_of(port: Port) -> str | None:
    """What a camera at that port is called, by its USB id; None: it is none that is known."""
    known = any(port.vendor_id == vendor and product in (None, port.product_id) for vendor, product in USB_IDS)
    return f"openmv:{port.device}" if known else None


def cameras() -> list[PluggedIn] | None:
    """Those that can be sources; None without the package that knows them."""
    try:
        return list_cameras()
    except UsageError:
        return None


def behind_receivers() -> list[Probe]:
    """What may be a camera at a camera connector of this machine."""
    return [Probe(Port(device, name), None, None, f"v4l2:{device}") for device, name in receivers().items()]


def probe(port: Port, baud: int = BAUD) -> Probe:
    """Say HELLO on a port, for about a second; a device that another program has is left to it, and so is a camera.

    Opening a port resets some boards.
    """
    if source := source_of(port):
        return Probe(port, None, None, source)
    try:
        with Device.open(port.device, baud=baud, timeouts=PROBE, yields=True) as device:
            return Probe(port, device.hello, None)
    except DeviceError as error:
        return Probe(port, None, str(error))
