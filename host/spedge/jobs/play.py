"""Play a recording to a device and ask it for its opinion on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import DeviceRefused, InputError, UsageError
from spedge.device.open import Device
from spedge.events.evt2 import Encoder
from spedge.events.part import Part, part_for
from spedge.link.protocol import Configuration
from spedge.model.bundle import Bundle
from spedge.model.parts import Classification, Detection, Detector, Gnn, Pcn, TokenInput, Transformer
from spedge.recordings import PLAIN, Reading


@dataclass(frozen=True)
class Opinion:
    """What the device says after the events up to `t` (us of the sensor's clock).

    `events`: sent so far; `tokens`: made so far; `logits` float32 [classes]; `confidence`: softmax of the label;
    `encode_cost`: of this inference, in the device's unit.
    """

    t: int
    events: int
    tokens: int
    label: str
    confidence: float
    logits: NDArray[np.float32]
    encode_cost: int


def load_events(path: Path, bundle: Bundle, reading: Reading = PLAIN, any_size: bool = False) -> NDArray[Any]:
    """All events of a recording made with the bundle's sensor size (EVENT_DTYPE). reading: how it is opened.

    any_size: of another one, too, which a part is to be taken of.

    Raises UsageError, naming both sizes, when the bundle is for another sensor, InputError for a damaged file
    or one without events.
    """
    recording = reading.open(path)
    if not any_size and (recording.width, recording.height) != (bundle.sensor.width, bundle.sensor.height):
        raise other_sensor(bundle, str(path), recording.width, recording.height)
    events = recording.events()
    if len(events) == 0:
        raise recording.no_events()
    return events


def other_sensor(bundle: Bundle, name: str, width: int, height: int, hint: str = "") -> UsageError:
    """For events of that name and sensor size, where it is not the bundle's; hint: what else to do than the usual."""
    return UsageError(
        f"{name} is {width}x{height} and the bundle {bundle.name!r} is for "
        f"{bundle.sensor.width}x{bundle.sensor.height}: choose a bundle for that sensor{hint}"
    )


def recordings_for(bundle: Bundle, folder: Path) -> list[Path]:
    """RAW files of the folder that are of the bundle's sensor, by name."""
    opened = {path: PLAIN.open(path) for path in sorted(folder.glob("*.raw"))}
    sensor = bundle.sensor.width, bundle.sensor.height
    return [path for path, recording in opened.items() if (recording.width, recording.height) == sensor]


def require_part(
    bundle: Bundle, name: str, source: tuple[int, int], corner: tuple[int, int] | None, bin: int | None
) -> Part:
    """What of a source's pixels the bundle's sensor is. Raises UsageError where these say nothing of them.

    corner: its left upper one; without, the middle. bin: pixels along a side that are one; None: 1, and the part has to
    be all there. With a bin that is given, pixels of the model that are beside the source stay dark.
    """
    width, height = bundle.sensor.width, bundle.sensor.height
    part = part_for(source, (width, height), corner, bin or 1)
    whole = part.left + width <= source[0] and part.top + height <= source[1]
    if (bin is None and not whole) or part.left >= source[0] or part.top >= source[1]:
        raise UsageError(
            f"{width}x{height} pixels from {part.left},{part.top} reach outside of {name}, {source[0]}x{source[1]}"
        )
    return part


def play(device: Device, bundle: Bundle, events: NDArray[Any], every_us: int | None = None) -> Iterator[Opinion]:
    """Send `events` (structured t us, x, y, p; sorted) in a new session and infer every `every_us` of their time.

    Without `every_us` there is one opinion, at the end. Stretches without events bring none.
    Raises DeviceError when the device has another model than `bundle`, and whatever the link raises.
    """
    if every_us is not None and every_us <= 0:
        raise UsageError("the time between results must be more than 0")
    bundle.parts("a played recording", Classification, TokenInput, Transformer)
    require_model(device, bundle)
    device.configure(Configuration(outputs=("logits",)))
    sent, evt2 = 0, Encoder()
    for end in _cuts(events["t"], every_us):
        part = events[sent:end]
        device.send(evt2.words(part))
        sent = end
        yield _opinion(device, bundle, int(part["t"][-1]), sent)


def require_model(device: Device, bundle: Bundle) -> None:
    """Raises DeviceError, naming both, when the device does not hold the bundle's model, and InputError for a model of
    a kind that devices do not run."""
    if isinstance(bundle.task, Detection) and isinstance(bundle.model, Detector):
        bundle.parts("a device", Detection, TokenInput, Detector)
        encoder, kind = bundle.model.encoder, bundle.token_input.tokenizer.kind
        if not isinstance(encoder, Transformer) or kind == "voxel":
            raise InputError(
                f"a device takes detectors by a transformer, on continuous or discrete tokens, and the model "
                f"{bundle.name!r} is by a {encoder.type} on {kind} ones: choose another preset."
            )
    else:
        bundle.parts("a device", Classification, TokenInput, Transformer, Gnn, Pcn)
    if device.hello.model_hash == bundle.hash_bytes:
        return
    held = device.hello.model_hash
    other = f"model {device.hello.model!r} ({held.hex()[:12]})" if held else "no model"
    raise DeviceRefused(
        f"{device.name} holds {other} and the bundle is {bundle.name!r} ({bundle.hash[:12]}): flash the bundle first"
    )


def require_precision(device: Device, bundle: Bundle, precision: str) -> None:
    """Raises DeviceError, naming both, when the device holds the bundle's model in another precision."""
    held, wanted = device.hello.model, bundle.model_name(precision)
    if device.hello.model_hash == bundle.hash_bytes and held != wanted:
        raise DeviceRefused(f"{device.name} holds {held!r} and not {wanted!r}: flash it, or choose another --precision")


def _cuts(times: NDArray[np.uint64], every_us: int | None) -> list[int]:
    """Where to stop: numbers of events, ascending, the last one all of them."""
    if len(times) == 0:
        return []
    if every_us is None:
        return [len(times)]
    steps = (times - times[0]) // np.uint64(every_us)
    return [*(np.flatnonzero(np.diff(steps)) + 1).tolist(), len(times)]


def _opinion(device: Device, bundle: Bundle, t: int, sent: int) -> Opinion:
    result = device.infer()
    label, confidence = bundle.verdict(result.logits)
    return Opinion(
        t=t,
        events=sent,
        tokens=result.status.tokens,
        label=label,
        confidence=confidence,
        logits=result.logits,
        encode_cost=result.cost_encode,
    )
