"""spedge devices: serial ports and other addresses, and what answers there."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spedge.cli.common import JsonOption, print_json, progress, show, table

if TYPE_CHECKING:
    from spedge.jobs.devices import Probe
    from spedge.sources.usb import PluggedIn


def command(
    addresses: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ADDRESS]...", help="Further ones to ask: tcp://HOST:PORT, ssh://USER@NAME, unix:PATH, a port."
        ),
    ] = None,
    ask: Annotated[bool, typer.Option("--ask/--no-ask", help="Say HELLO on each; opening resets some boards.")] = True,
    as_json: JsonOption = False,
) -> None:
    """List cameras, and serial ports with their USB ids and the spedge devices that answer on them."""
    from spedge.boards.ports import Port, list_ports
    from spedge.jobs.devices import Probe, behind_receivers, cameras, probe, source_of

    ports = list_ports() + [Port(address, "") for address in addresses or ()]
    probes: list[Probe] = []
    with progress("Looking for ports") as say:
        for port in ports:
            say(f"Asking {port.device}")
            probes.append(probe(port) if ask else Probe(port, None, None, source_of(port)))
    probes += behind_receivers()
    plugged = cameras()
    if as_json:
        seen = None if plugged is None else [asdict(camera) for camera in plugged]
        print_json({"devices": [_document(found) for found in probes], "cameras": seen})
        return
    if plugged:
        _show_cameras(plugged)
    if not probes:
        print("no serial port: is a board plugged in? Boards that this machine can be are listed by 'spedge boards'")
        return
    from rich.text import Text

    listing = table("", "port", "USB id", "description", "board", "model", "firmware", "answer")
    for found in probes:
        listing.add_row(*(Text(cell) for cell in _cells(found)))
    show(listing)


def _show_cameras(plugged: list[PluggedIn]) -> None:
    from rich.text import Text

    listing = table("", "source", "camera", "connection", "serial number", "answer")
    for camera in plugged:
        source = f"camera:{camera.kind}" if camera.kind else ""
        cells = (source, camera.name, camera.connection, camera.serial or "", camera.problem or "can be opened")
        listing.add_row(*map(Text, cells))
    show(listing)


def _cells(found: Probe) -> tuple[str, ...]:
    port, hello = found.port, found.hello
    board = hello.board if hello else " or ".join(f"{name}?" for name in port.boards)
    answer = (
        (f"yes; before: {hello.ended}" if hello.ended else "yes")
        if hello
        else found.problem or (f"a camera: {found.source}" if found.source else "")
    )
    model = hello.model or "none" if hello else ""
    return (port.device, port.usb_id or "", port.description, board, model, hello.version if hello else "", answer)


def _document(found: Probe) -> dict[str, Any]:
    port, hello = found.port, found.hello
    answer = hello and {
        "board": hello.board,
        "firmware": hello.version,
        "build": hello.build,
        "protocol": hello.protocol,
        "ended": hello.ended or None,
        "model": hello.model or None,
        "model_hash": hello.model_hash.hex() if hello.model_hash else None,
    }
    return {
        "port": port.device,
        "description": port.description,
        "usb_id": port.usb_id,
        "serial_number": port.serial_number,
        "boards": list(port.boards),
        "hello": answer,
        "problem": found.problem,
        "source": found.source,
    }
