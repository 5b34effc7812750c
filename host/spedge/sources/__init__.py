"""Where events come from while they happen: recordings played, USB cameras, cameras and boards on a serial port."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from spedge.base.errors import UsageError
from spedge.events.formats import EDVS_FORMATS, format_name
from spedge.recordings import PLAIN, Reading
from spedge.sources.base import Source
from spedge.sources.board import BoardCamera
from spedge.sources.knobs import FORM, Knobs
from spedge.sources.openmv import OpenMvCamera
from spedge.sources.recording import RecordingSource
from spedge.sources.serial_port import EdvsCamera, SerialSource
from spedge.sources.usb import CAMERAS, UsbCamera
from spedge.sources.v4l2 import FRAME_BYTES, SIDE, V4l2Camera, V4l2File

__all__ = [
    "KINDS",
    "BoardCamera",
    "EdvsCamera",
    "OpenMvCamera",
    "RecordingSource",
    "SerialSource",
    "Source",
    "UsbCamera",
    "V4l2Camera",
    "V4l2File",
    "open_source",
]

#: What `open_source` takes, and what is said of it.
KINDS = {
    "RECORDING": "a file that spedge.open reads",
    "camera:NAME": f"a camera: {', '.join(CAMERAS)}; camera:NAME,serial=00051501,{FORM}",
    "edvs:PORT": "an eDVS on a serial port; edvs:/dev/ttyUSB0,baud=4000000,format=edvs-e4,invert",
    "openmv:PORT": "an OpenMV camera with a GENX320, on USB; openmv:/dev/ttyACM0",
    "serial:PORT": "raw words on a serial port; serial:/dev/ttyACM0,format=evt2,width=320,height=320,baud=115200",
    "v4l2:DEVICE": "EVT3 in frames, of a V4L2 device or a file; v4l2:FILE,width=320,height=320,frame=1601536",
}


_MOST_PIXELS = 1 << 11  # a side of EVT3


def open_source(text: str, *, speed: float | None = None, reading: Reading = PLAIN) -> Source:
    """Open what `text` names (KINDS).

    speed: of a recording, as a multiple of the time in which it was made; None: as fast as it is read.
    reading: how a recording is opened.
    Raises UsageError for what is not understood or lacks a library, InputError for a bad recording, DeviceError for a
    camera that cannot be opened.
    """
    kind, _, rest = text.partition(":")
    opener = {"camera": _usb, "edvs": _edvs, "openmv": _openmv, "serial": _serial, "v4l2": _v4l2}.get(kind)
    if opener is None or not rest:
        return RecordingSource(Path(text), speed, reading)
    target, options = _options(text, rest)
    if not target:
        raise UsageError(f"{text}: say which, as in {KINDS[_form(kind)].rpartition('; ')[2]}")
    opened = opener(target, options)  # takes those it knows
    if options:
        raise UsageError(f"{text}: there is no option {next(iter(options))!r}; as in {KINDS[_form(kind)]}")
    return opened()


def _form(kind: str) -> str:
    return next(form for form in KINDS if form.startswith(kind))


def _options(text: str, rest: str) -> tuple[str, dict[str, str]]:
    """`PORT,a=1,b` as PORT and {a: 1, b: ""}."""
    target, *parts = rest.split(",")
    options: dict[str, str] = {}
    for part in parts:
        name, _, value = part.partition("=")
        if not name or name in options:
            raise UsageError(f"{text}: {part!r} is no option, or there twice; options are name=value, after commas")
        options[name] = value
    return target, options


def _number(options: dict[str, str], name: str, default: int | None) -> int | None:
    value = options.pop(name, None)
    if value is None:
        return default
    try:
        return int(value)
    except ValueError:
        raise UsageError(f"{name}={value} is no number") from None


def _usb(name: str, options: dict[str, str]) -> Callable[[], Source]:
    return partial(UsbCamera, name, serial=options.pop("serial", None), knobs=Knobs.taken(options))


def _edvs(port: str, options: dict[str, str]) -> Callable[[], Source]:
    format = options.pop("format", "4")
    return partial(
        EdvsCamera,
        port,
        baud=_number(options, "baud", None),
        mode=int(format if format.isdecimal() else format_name(format, EDVS_FORMATS)[-1]),
        invert_polarity=_flag(options, "invert"),
    )


def _openmv(port: str, options: dict[str, str]) -> Callable[[], Source]:
    return partial(OpenMvCamera, port)


def _serial(port: str, options: dict[str, str]) -> Callable[[], Source]:
    width, height = _number(options, "width", None), _number(options, "height", None)
    if width is None or height is None:
        raise UsageError(f"serial:{port}: raw words do not say the sensor's size; add ,width=W,height=H")
    format, baud = options.pop("format", "evt2"), _number(options, "baud", None)
    return partial(SerialSource, port, format, width=width, height=height, baud=baud)


def _v4l2(path: str, options: dict[str, str]) -> Callable[[], Source]:
    width, height = _number(options, "width", SIDE) or 0, _number(options, "height", SIDE) or 0
    frame_bytes = _number(options, "frame", None)
    if not 0 < width <= _MOST_PIXELS or not 0 < height <= _MOST_PIXELS:
        raise UsageError(f"v4l2:{path}: a sensor of {width}x{height} is not possible; width and height are 1 to 2048")
    if not Path(path).is_char_device() and not path.startswith("/dev/"):
        return partial(V4l2File, Path(path), width=width, height=height, frame_bytes=frame_bytes or FRAME_BYTES)
    if frame_bytes is not None:
        raise UsageError(f"v4l2:{path}: frame=BYTES is of files; a device says how large its frames are")
    return partial(V4l2Camera, path, width=width, height=height)


def _flag(options: dict[str, str], name: str) -> bool:
    value = options.pop(name, None)
    if value not in (None, ""):
        raise UsageError(f"{name} takes no value")
    return value is not None
