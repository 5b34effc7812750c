"""Serial ports: which there are, what answers on them, and who may open them."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from spedge.base.errors import DeviceError, UsageError
from spedge.boards.manifest import Board, list_boards
from spedge.device.client import Device, Timeouts
from spedge.link.protocol import Hello
from spedge.link.transport import udev_rule

UDEV_FILE = Path("/etc/udev/rules.d/60-spedge.rules")
PROBE = Timeouts(resend_most=0.4, silence=1.0, reconnect=0.0)

#: USB ids of what boards and event cameras have between their UART and the cable.
USB_ADAPTERS = {
    (0x0403, 0x6001): "FTDI FT232R",
    (0x0403, 0x6010): "FTDI FT2232",
    (0x0403, 0x6011): "FTDI FT4232",
    (0x0403, 0x6014): "FTDI FT232H",
    (0x0403, 0x6015): "FTDI FT-X",
    (0x0483, 0x374B): "ST-LINK/V2-1",
    (0x0483, 0x374E): "STLINK-V3",
    (0x0483, 0x374F): "STLINK-V3",
    (0x0483, 0x3753): "STLINK-V3",
    (0x0483, 0x5740): "STM32 virtual COM port",
    (0x0D28, 0x0204): "Arm DAPLink",
    (0x10C4, 0xEA60): "Silicon Labs CP210x",
    (0x1209, 0xABD1): "OpenMV Cam",
    (0x16C0, 0x0483): "Teensy",
    (0x1A86, 0x7523): "WCH CH340",
    (0x2E8A, 0x000A): "Raspberry Pi Pico",
}


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


@dataclass(frozen=True)
class Probe:
    """What answered on a port: hello, or why there is none."""

    port: Port
    hello: Hello | None
    problem: str | None


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


def probe(port: Port, baud: int = 115200) -> Probe:
    """Say HELLO on a port, for about a second. Opening a port resets some boards."""
    try:
        with Device.open(port.device, baud=baud, timeouts=PROBE) as device:
            return Probe(port, device.hello, None)
    except DeviceError as error:
        return Probe(port, None, str(error))


def port_of(board: Board) -> Port:
    """The port of a board on a cable. Raises DeviceError when there is none with its USB ids, or more than one."""
    found = [port for port in list_ports() if board.name in port.boards]
    if len(found) == 1:
        return found[0]
    if found:
        which = ", ".join(port.device for port in found)
        raise DeviceError(f"{board.name} may be at {which}: say which one by its address")
    raise DeviceError(f"no port has the USB id of {board.name}: is it plugged in? 'spedge devices' lists the ports")


def udev_rules() -> str:
    """The rules that let everyone at the desk open the ports of boards, and keep ModemManager from talking to them."""
    ids = {usb_id: board.name for board in list_boards() if board.serial for usb_id in board.serial.usb_ids}
    lines = ["# Made by 'spedge udev': serial ports of boards may be opened by whoever is logged in at this machine."]
    for (vendor, product), name in sorted({**ids, **USB_ADAPTERS}.items()):
        lines += [f"# {name}", udev_rule(vendor, product)]
    return "\n".join(lines) + "\n"


def write_udev_rules(path: Path = UDEV_FILE) -> bool:
    """Write the rules and let udev read them; returns whether udev did. Raises UsageError when it needs root."""
    try:
        part = path.with_name(path.name + ".part")
        part.write_text(udev_rules())
        part.chmod(0o644)
        part.replace(path)
    except PermissionError:
        raise UsageError(f"{path} may be written by root only: run 'sudo spedge udev --write'") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    if shutil.which("udevadm") is None or os.geteuid() != 0:
        return False
    commands = (["udevadm", "control", "--reload-rules"], ["udevadm", "trigger", "--subsystem-match=tty"])
    return all(subprocess.run(command, capture_output=True, check=False).returncode == 0 for command in commands)
