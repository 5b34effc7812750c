"""udev's rules: who may open the serial ports, probes and bootloaders of boards on a Linux machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from spedge.base.errors import UsageError

UDEV_FILE = Path("/etc/udev/rules.d/60-spedge.rules")
WRITE_RULES = "sudo spedge udev --write"

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


#: Debug probes and bootloaders: programs open these as they are, not as a serial port.
USB_PROBES = {
    (0x0483, 0x3748): "ST-LINK/V2",
    (0x0483, 0x374B): "ST-LINK/V2-1",
    (0x0483, 0x374E): "STLINK-V3",
    (0x0483, 0x374F): "STLINK-V3",
    (0x0483, 0x3753): "STLINK-V3",
    (0x0483, 0x3754): "STLINK-V3",
    (0x0483, 0xDF11): "STM32 bootloader (DFU)",
    (0x0D28, 0x0204): "Arm DAPLink",
    (0x16C0, 0x0478): "Teensy bootloader (HalfKay)",
    (0x1FC9, 0x0135): "NXP i.MX RT bootloader",
    (0x2E8A, 0x0003): "Raspberry Pi RP2040 bootloader",
    (0x2E8A, 0x000C): "Raspberry Pi Debug Probe",
    (0x2E8A, 0x000F): "Raspberry Pi RP2350 bootloader",
}


def group_that_may(path: Path) -> str | None:
    """The group whose members may read and write a file, for example dialout; None where that is nobody's to join."""
    try:
        import grp

        status = path.stat()
        group = grp.getgrgid(status.st_gid).gr_name
    except (ImportError, OSError, KeyError):
        return None
    return group if status.st_mode & 0o060 == 0o060 and group != "root" else None


def joining(group: str) -> str:
    """The command that makes the user one of a group, from the next log-in on."""
    return f"sudo usermod -aG {group} $USER"


def udev_rule(vendor: int, product: int) -> str:
    """The rule that lets whoever is logged in open one kind of USB port, and keeps ModemManager off it."""
    match = f'SUBSYSTEM=="tty", ATTRS{{idVendor}}=="{vendor:04x}", ATTRS{{idProduct}}=="{product:04x}"'
    return f'{match}, MODE="0660", TAG+="uaccess", ENV{{ID_MM_DEVICE_IGNORE}}="1"'


def raw_rules(vendor: int, product: int) -> list[str]:
    """The rules that let whoever is logged in open a probe or a bootloader, by libusb or as a HID device."""
    usb = f'ATTRS{{idVendor}}=="{vendor:04x}", ATTRS{{idProduct}}=="{product:04x}", MODE="0660", TAG+="uaccess"'
    return [f'SUBSYSTEM=="{subsystem}", {usb}' for subsystem in ("usb", "hidraw")]


def udev_rules(boards: dict[tuple[int, int], str]) -> str:
    """The rules that let everyone at the desk open the ports of boards, and keep ModemManager from talking to them.

    boards: names by the USB ids of their ports; the usual adapters come with them.
    """
    lines = ["# Made by 'spedge udev': serial ports of boards may be opened by whoever is logged in at this machine."]
    for (vendor, product), name in sorted({**boards, **USB_ADAPTERS}.items()):
        lines += [f"# {name}", udev_rule(vendor, product)]
    lines.append("# Debug probes and bootloaders, for 'spedge flash'.")
    for (vendor, product), name in sorted(USB_PROBES.items()):
        lines += [f"# {name}", *raw_rules(vendor, product)]
    return "\n".join(lines) + "\n"


def write_rules(rules: str, path: Path = UDEV_FILE) -> bool:
    """Write the rules and let udev read them; returns whether udev did. Raises UsageError when it needs root."""
    try:
        part = path.with_name(path.name + ".part")
        part.write_text(rules)
        part.chmod(0o644)
        part.replace(path)
    except PermissionError:
        raise UsageError(f"{path} may be written by root only: run '{WRITE_RULES}'") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    if shutil.which("udevadm") is None or os.geteuid() != 0:
        return False
    commands = (
        ["udevadm", "control", "--reload-rules"],
        ["udevadm", "trigger", "--subsystem-match=tty", "--subsystem-match=usb", "--subsystem-match=hidraw"],
    )
    return all(subprocess.run(command, capture_output=True, check=False).returncode == 0 for command in commands)
