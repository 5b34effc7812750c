"""Serial ports: which there are, and of which boards."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from spedge.base.errors import DeviceGone, DeviceRefused
from spedge.boards.manifest import Board, list_boards


@dataclass(frozen=True)
class Port:
    """A port, or another address. USB fields are None when it is not on USB. boards: those whose manifests name its
    ids."""

    device: str
    description: str
    vendor_id: int | None = None
    product_id: int | None = None
    serial_number: str | None = None
    boards: tuple[str, ...] = ()

    @property
    def usb_id(self) -> str | None:
        """As lsusb writes it, `0483:374b`."""
        return None if self.vendor_id is None else f"{self.vendor_id:04x}:{self.product_id or 0:04x}"


def list_ports() -> list[Port]:
    """The serial ports of this machine, those on USB first."""
    from serial.tools import list_ports as pyserial

    boards = [board for board in list_boards() if board.serial]
    ports = [
        Port(
            found.device,
            found.description if found.description != "n/a" else "",
            found.vid,
            found.pid,
            found.serial_number,
            tuple(b.name for b in boards if b.serial and (found.vid, found.pid) in b.serial.usb_ids),
        )
        for found in pyserial.comports()
    ]
    return sorted(ports, key=lambda port: (port.vendor_id is None, port.device))


def port_of(board: Board, besides: Collection[Port] = (), number: str | None = None) -> Port:
    """The port of a board on a cable. besides: ports of other boards of the kind. number: its USB serial number.

    Raises DeviceError when there is none with the board's USB ids, or more than one.
    """
    found = [
        port
        for port in list_ports()
        if board.name in port.boards and port not in besides and number in (None, port.serial_number)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        which = ", ".join(port.device for port in found)
        raise DeviceRefused(f"{board.name} may be at {which}: say which one by its address")
    which = f" and the serial number {number}" if number else ""
    raise DeviceGone(
        f"no port has the USB id of {board.name}{which}: is it plugged in? 'spedge devices' lists the ports"
    )


def usb_ids() -> dict[tuple[int, int], str]:
    """Names of boards by the USB ids of their ports."""
    return {usb_id: board.name for board in list_boards() if board.serial for usb_id in board.serial.usb_ids}
