"""The door: an address or a board's name becomes a line, and the line a `Device`."""

from __future__ import annotations

from pathlib import Path

from spedge.base import assembly
from spedge.base.errors import UsageError
from spedge.boards.launch import start
from spedge.boards.manifest import Board, board_names, load_board
from spedge.boards.ports import port_of
from spedge.device.client import Client
from spedge.link.faults import Faults, with_faults
from spedge.link.key import split_key
from spedge.link.link import Timeouts
from spedge.link.ssh import connect_ssh
from spedge.link.transport import BAUD, Reconnecting, Transport, connect


def dial(address: str, baud: int = BAUD) -> Transport:
    """The line to an address, of a device that runs. Raises what connect and connect_ssh raise."""
    return connect_ssh(address) if address.startswith("ssh://") else connect(address, baud)


class Device(Client):
    __doc__ = Client.__doc__

    @classmethod
    def open(
        cls,
        address: str,
        bundle: object | None = None,
        baud: int = BAUD,
        timeouts: Timeouts | None = None,
        faults: Faults | None = None,
        yields: bool = False,
    ) -> Device:
        """Open a device by its address or a board by its name.

        address: `/dev/…` (serial port or pseudo-terminal), `unix:PATH`, `tcp://HOST:PORT`, `ssh://USER@NAME` (see
        spedge.link.ssh.connect_ssh), each with `,key=FILE` behind it for an agent that asks for a key, or the name of a
        board ("sim", "mps2-an500", …), which is built with the model of `bundle` (a spedge.model.bundle.Bundle), or
        none, and started; one on a cable is looked for by its USB ids.
        faults: what shall go wrong on the line, for tests.
        yields: leave the device to another program that has it; else the one who comes last has an agent on TCP.
        Raises UsageError when the address makes no sense, DeviceGone when nothing is there, DeviceRefused when it may
        not be used or is in use, DeviceTimeout when it does not answer, and what build.build raises.
        """
        if address not in board_names():
            limits = timeouts or Timeouts()
            plain, key = split_key(address)
            line = Reconnecting(lambda: dial(plain, baud), limits.reconnect, key=key)
            return cls(with_faults(line, faults), timeouts, yields=yields)
        board = load_board(address)
        if board.runs == "serial":
            return open_board(board, address=port_of(board).device, timeouts=timeouts, faults=faults)
        if assembly.image_of is None:
            raise UsageError(f"{address} has to be built first: give its image to open_board")
        return open_board(board, assembly.image_of(address, bundle), timeouts=timeouts, faults=faults)


def open_board(
    board: Board,
    image: Path | None = None,
    address: str | None = None,
    timeouts: Timeouts | None = None,
    faults: Faults | None = None,
    ram: Path | None = None,
) -> Device:
    """The board as a `Device`: started from `image` when it is simulated or emulated, else found at `address`.

    Where the board is started here and has a camera port, `Device.camera_address` is its other end.
    ram: a file of camera bytes that is put into the board's memory, for the source "ram".
    Call it from the main thread: what it starts is ended by the kernel together with the thread that started it.
    Raises DeviceError when it cannot be started or does not answer, UsageError when image or address is missing.
    """
    if board.serial is not None:
        if address is None:
            raise UsageError(f"{board.name} is on a cable: give its port, for example --device /dev/ttyACM0")
        if ram is not None:
            raise UsageError(f"{board.name} is on a cable: nothing can be put into its memory from here")
        return Device.open(address, baud=board.serial.baud, timeouts=timeouts, faults=faults)
    if image is None:
        raise UsageError(f"{board.name} is started from a firmware image, and none was given")
    started = start(board, image, ram)
    try:
        limits = timeouts or Timeouts()
        line = Reconnecting(started.connect, limits.reconnect, started.obituary)
        device = Device(with_faults(line, faults), timeouts, started.obituary, started.at_work)
    except BaseException:
        started.stop()
        raise
    device.owns(started.stop)
    device.camera_address = started.camera_address
    return device
