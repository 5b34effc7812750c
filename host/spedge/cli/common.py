"""What the verbs share: options, tables, JSON on stdout, progress on stderr."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from spedge.boards.manifest import Board
    from spedge.device.open import Device
    from spedge.model.bundle import Bundle
    from spedge.recordings import Reading

SCHEMA = 1
_QUIET_SECONDS = 1.5  # without an event: a camera that has played all has been heard

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def known_boards(begun: str) -> list[str]:
    """What a name of a board may become."""
    from spedge.boards.manifest import board_names

    return [name for name in board_names() if name.startswith(begun)]


def known_bundles(begun: str) -> list[str]:
    """The same for bundles that come with spedge; shells add files."""
    from spedge.base.paths import bundle_names

    return [name for name in bundle_names() if name.startswith(begun)]


def known_recordings(begun: str) -> list[str]:
    """The same for recordings."""
    from spedge.base.paths import recording_names

    return [name for name in recording_names() if name.startswith(begun)]


BoardOption = Annotated[
    str, typer.Option("--board", "-b", help="Board name; see 'spedge boards'.", autocompletion=known_boards)
]
PrecisionOption = Annotated[
    str, typer.Option(help="fp32, int8w (weights in 8 bits) or int8 (weights and activations).")
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="ADDRESS",
        help="Where the board already runs: a serial port, tcp://HOST:PORT, or ssh://USER@NAME.",
    ),
]
ProviderOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,...",
        help="With --board host: ONNX Runtime's execution providers, the best one first, as in tensorrt,cuda,cpu.",
        show_default=False,
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=64,
        help="Of the model, on boards that run Linux: sim, jetson, host. Large ones gain; the results are the same.",
        show_default=False,
    ),
]
FaultOption = Annotated[
    str | None,
    typer.Option(
        "--fault", metavar="drop=P,flip=P,...", help="Make the line bad: drop, flip, dup, delay, cut, seed; for tests."
    ),
]
HtmlOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.html",
        help="Write a report, too: one file that a browser shows, with everything in it.",
        show_default=False,
    ),
]
# A tokenizer's parameters.
KindOption = Annotated[str, typer.Option(help="continuous, discrete or voxel.")]
PatchSizeOption = Annotated[int, typer.Option(help="Pixels.")]
ThresholdOption = Annotated[float, typer.Option(help="Potential, or events, at which a patch fires.")]
AbsoluteRefractoryOption = Annotated[int, typer.Option(help="After firing, how long a patch drops events.")]
RelativeRefractoryOption = Annotated[int, typer.Option(help="After that, how long an event counts less.")]
RelativeScaleOption = Annotated[float, typer.Option(help="What an event counts then, between 0 and 1.")]
DecayOption = Annotated[float, typer.Option(help="What the potential loses per microsecond.")]
DurationOption = Annotated[
    int | None, typer.Option(help="discrete, voxel: how long events count, or a bin.", show_default=False)
]
LIVE_SOURCES = (
    "camera:NAME (docs/cameras.md); edvs:PORT; openmv:PORT; serial:PORT,width=W,height=H; v4l2:DEVICE"  # in helps
)
WRITTEN = ".raw (evt2 or evt3), .dat, .hdf5, .h5, .aedat4, .npz or .csv"
CropOption = Annotated[
    str | None,
    typer.Option(metavar="X,Y", help="Left upper corner of the bundle's sensor in a larger one.", show_default=False),
]
BinOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        max=255,
        help="Take NxN pixels of a larger sensor for one of the bundle's; without --crop, in the middle.",
        show_default=False,
    ),
]
PlayOption = Annotated[
    Path | None,
    typer.Option(
        metavar="RECORDING",
        help="With board as the source, on a board that runs on this machine: an emulated camera plays this at its "
        "camera port, in real time.",
        show_default=False,
    ),
]
CameraFormatOption = Annotated[
    str, typer.Option(help="Of the camera on the board: evt2, evt2.1, evt2.1-legacy, evt3, edvs-e1 to edvs-e4.")
]
CameraBaudOption = Annotated[int, typer.Option(help="Of the camera on the board; 0: the board's own.")]
#: Which source of CONFIGURE that is.
CAMERA_PORTS = {"uart": "camera", "frames": "frames"}
CameraPortOption = Annotated[
    str,
    typer.Option(
        metavar="uart|frames",
        help="Where the camera on the board is: at its UART, or, a GENX320, at its parallel interface, whose frames a "
        "DMA receives (disco-f746g, nucleo-h743zi2).",
    ),
]


def camera_port_of(port: str, format: str, baud: int, play: Path | None) -> str:
    """The source in CONFIGURE of that camera port. Raises UsageError for one that there is not, and for what frames
    have not."""
    from spedge.base.errors import UsageError

    if port not in CAMERA_PORTS:
        raise UsageError(f"there is no camera port {port!r}; use one of {', '.join(CAMERA_PORTS)}")
    if port == "frames" and (format != "evt2" or baud):
        raise UsageError("the frame port gets EVT2, and has no baud rate: leave --camera-format and --camera-baud out")
    if port == "frames" and play is not None:
        raise UsageError("an emulated camera plays at a UART: leave --play or --camera-port out")
    return CAMERA_PORTS[port]


ModeOption = Annotated[
    str | None,
    typer.Option(
        help="lossless (the source waits) or live (it does not; what is too much is left out and counted). "
        "By default what suits the source.",
        show_default=False,
    ),
]
BundleArgument = Annotated[
    Path,
    typer.Argument(
        metavar="BUNDLE",
        help="Bundle directory, as 'spedge export' writes it, or a name of 'spedge models'.",
        autocompletion=known_bundles,
    ),
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


@contextlib.contextmanager
def interruptible(stop: Callable[[], None]) -> Iterator[None]:
    """While the block runs, the first Ctrl-C calls `stop`, so that it ends cleanly; the next one interrupts it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_interrupt(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        stop()

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def playing(
    device: Device | None, recording: Path | None, format: str, reading: Reading | None = None
) -> Iterator[Callable[[int], bool]]:
    """While the block runs, an emulated camera plays the recording, if there is one, at the board's camera port.

    reading: how the recording is opened.

    Yields a function to be called often, once the device is configured, with the number of events that have come: it
    starts the camera, and says when all has been played and no more events come.
    Raises UsageError for a board whose camera port is not on this machine.
    """
    if device is None or recording is None:
        yield lambda _: False
        return
    from spedge.base.errors import UsageError
    from spedge.cameras import EmulatedCamera, protocol_of
    from spedge.recordings import Reading

    if device.camera_address is None:
        raise UsageError(f"{device.name} has no camera port here: --play is for boards that run on this machine")
    protocol = protocol_of(format)
    seen, changed = -1, 0.0

    def ended(events: int) -> bool:
        nonlocal seen, changed
        if seen < 0 and protocol != "edvs":  # an eDVS is started by the board
            camera.play()
        if events != seen:
            seen, changed = events, time.monotonic()
        return camera.played and time.monotonic() - changed > _QUIET_SECONDS

    with EmulatedCamera(device.camera_address, (reading or Reading()).open(recording).events(), protocol) as camera:
        yield ended


def require_range(option: str, value: float) -> None:
    """Raises UsageError for a time, ms, or a number of tokens that a board cannot be told."""
    from spedge.base.errors import UsageError

    if not 0 <= value < 1 << 22:
        raise UsageError(f"{option} {value:g} is out of range: it must be 0 or more, and below {1 << 22}")


def causes(counts: dict[str, int], none: str = "none") -> str:
    """The causes that something was lost for, with how much."""
    return ", ".join(f"{cause} {n:,}" for cause, n in counts.items() if n) or none


def byte_count(count: int) -> str:
    """12.3 KB, 1.2 MB: powers of 1024."""
    for unit, size in (("MB", 1 << 20), ("KB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def require_torch() -> None:
    """Raises UsageError, naming the extra, when torch is not installed."""
    import importlib.util

    from spedge.base.errors import UsageError

    if importlib.util.find_spec("torch") is None:
        raise UsageError("training and its data need torch: pip install 'spedge[train]'")


def require_view(*packages: str) -> None:
    """Raises UsageError, naming the extra, when one of these is not installed."""
    import importlib.util

    from spedge.base.errors import UsageError

    modules = {"pillow": "PIL"}
    if any(importlib.util.find_spec(modules.get(name, name)) is None for name in packages):
        raise UsageError("pictures and the page need more: pip install 'spedge[view]'")


def require_board(name: str) -> None:
    """Raises UsageError for one that there is not, before anything is read."""
    from spedge.boards.host import HOST
    from spedge.boards.manifest import load_board

    if name != HOST:
        load_board(name)


def board_of(
    name: str,
    bundle: Bundle,
    provider: str | None,
    precision: str,
    threads: int | None = None,
    address: str | None = None,
) -> Board:
    """The board of that name, which may be this machine itself, on so many threads. address: where it is instead."""
    from spedge.base.errors import UsageError
    from spedge.boards.host import HOST, host_board
    from spedge.boards.manifest import load_board

    if name != HOST:
        if provider is not None:
            raise UsageError(f"--provider is for --board host, and {name} computes by itself")
        board = load_board(name)
        if threads is not None and (address or board.runs == "serial"):
            raise UsageError(
                "--threads is for a board that is started here: an agent is started with its own --threads"
            )
        return board.on_threads(threads)
    if precision != "fp32":
        raise UsageError("--board host computes the bundle's own encoder, in fp32")
    return host_board(bundle, provider or "cpu", threads)


@contextlib.contextmanager
def opened_device(
    board: Board,
    bundle: Bundle | None,
    address: str | None,
    say: Callable[[str], None],
    precision: str = "fp32",
    fault: str | None = None,
) -> Iterator[Device]:
    """The board with the bundle's model: built and started when it runs on this machine, else found at `address`.

    fault: what shall go wrong on the line, as in Faults.parse.
    """
    from spedge.boards.build import build
    from spedge.boards.host import HOST, IMAGE
    from spedge.device.open import Device, open_board
    from spedge.jobs.play import require_precision
    from spedge.link.faults import Faults
    from spedge.link.transport import BAUD

    faults = Faults.parse(fault) if fault else None
    if address:
        with Device.open(address, baud=board.serial.baud if board.serial else BAUD, faults=faults) as device:
            if bundle is not None:
                require_precision(device, bundle, precision)
            yield device
        return
    image = IMAGE if board.name == HOST else None
    if image is None and board.runs != "serial":
        image = build(board, bundle, say, precision).path
    say(f"Starting {board.name}")
    with open_board(board, image, faults=faults) as device:
        yield device


def corner_of(crop: str | None) -> tuple[int, int] | None:
    """What --crop says."""
    from spedge.base.errors import UsageError

    if crop is None:
        return None
    try:
        x, y = map(int, crop.split(","))
    except ValueError:
        raise UsageError(f"--crop {crop} is no corner: give two numbers, as in --crop 608,328") from None
    return x, y
