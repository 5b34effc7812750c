"""What the verbs share: options, tables, JSON on stdout, progress on stderr."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from spedge.boards import Board
    from spedge.bundle import Bundle
    from spedge.device import Device

SCHEMA = 1

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
BoardOption = Annotated[str, typer.Option("--board", "-b", help="Board name; see 'spedge boards'.")]
PrecisionOption = Annotated[
    str, typer.Option(help="fp32, int8w (weights in 8 bits) or int8 (weights and activations).")
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", metavar="PORT", help="Serial port of a board that is already running.")
]
WidthOption = Annotated[
    int | None, typer.Option(help="Sensor width in pixels, for a recording that does not say it.", show_default=False)
]
HeightOption = Annotated[int | None, typer.Option(help="Sensor height in pixels.", show_default=False)]
SortOption = Annotated[
    bool, typer.Option("--sort", help="Sort the events by time; takes memory for the whole recording.")
]
BundleArgument = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="Bundle directory, as 'spedge export' writes it.")
]


def show(renderable: RenderableType) -> None:
    """Print a table on stdout, above the status line if there is one. Piped output is wide: no cell is cut."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    with console.capture() as captured:
        console.print(renderable)
    lines = (line.rstrip() for line in captured.get().strip("\n").split("\n"))
    print("\n".join(lines))


def table(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table; the columns named in `right` are numbers."""
    from rich import box
    from rich.table import Table

    result = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        result.add_column(name, justify="right" if name in right else "left")
    return result


def print_pairs(document: dict[str, Any]) -> None:
    """Names and values, one pair a line."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for name, value in document.items():
        if value is not None:
            grid.add_row(name.replace("_", " "), Text(_readable(value)))
    show(grid)


def _readable(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def print_json(document: dict[str, Any]) -> None:
    """One report as JSON, with the schema's number first."""
    print(json.dumps({"schema": SCHEMA, **document}, indent=2))


def print_json_line(document: dict[str, Any]) -> None:
    """One of many results as a line of JSON, at once."""
    print(json.dumps({"schema": SCHEMA, **document}), flush=True)


@contextlib.contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """A status line on stderr while the block runs, if that is a terminal; the yielded function changes its text."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.text import Text

    spinner = Spinner("dots", Text(text))
    # What is printed meanwhile goes above the line if both are the same terminal, and else to where stdout leads.
    with Live(spinner, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()):
        yield lambda message: spinner.update(text=Text(message))


def byte_count(count: int) -> str:
    """12.3 KB, 1.2 MB: powers of 1024."""
    for unit, size in (("MB", 1 << 20), ("KB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def require_torch() -> None:
    """Raises UsageError, naming the extra, when torch is not installed."""
    import importlib.util

    from spedge.errors import UsageError

    if importlib.util.find_spec("torch") is None:
        raise UsageError("training and its data need torch: pip install 'spedge[train]'")


@contextlib.contextmanager
def opened_device(
    board: Board, bundle: Bundle, port: str | None, say: Callable[[str], None], precision: str = "fp32"
) -> Iterator[Device]:
    """The board with the bundle's model: built and started when it runs on this machine, else found at `port`."""
    from spedge.build import build
    from spedge.device import Device, open_board

    if port:
        with Device.open(port, board.serial.baud if board.serial else 115200) as device:
            yield device
        return
    image = build(board, bundle, say, precision).path if board.runs != "serial" else None
    say(f"Starting {board.name}")
    with open_board(board, image) as device:
        yield device
