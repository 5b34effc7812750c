"""spedge udev: the rules that let users open the serial ports of boards."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def command(
    write: Annotated[bool, typer.Option("--write", help="Write the file and reload udev's rules; needs root.")] = False,
) -> None:
    """Print the udev rules for the serial ports, probes and bootloaders of boards, or write them.

    They let whoever is logged in at this machine open the ports, and keep ModemManager off them.
    """
    from spedge.boards.ports import usb_ids
    from spedge.link.udev import UDEV_FILE, udev_rules, write_rules

    rules = udev_rules(usb_ids())
    if not write:
        print(rules, end="")
        print(f"nothing was written; 'sudo spedge udev --write' writes this to {UDEV_FILE}", file=sys.stderr)
        return
    then = "plug the boards in again" if write_rules(rules) else "restart udev, or the machine, to use it"
    print(f"written to {UDEV_FILE}; {then}")
