"""USB cameras, through the neuromorphic-drivers package (MIT)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import DeviceGone, DeviceRefused, UsageError
from spedge.events.arrays import EVENT_DTYPE, as_events
from spedge.recordings.triggers import TRIGGER_DTYPE
from spedge.sources.base import PACKET_SECONDS, Source
from spedge.sources.knobs import Knobs, configured

#: Our names of cameras: the module of neuromorphic_drivers.
CAMERAS = {
    "evk3": "prophesee_evk3_hd",
    "evk4": "prophesee_evk4",
    "davis346": "inivation_davis346",
    "dvxplorer": "inivation_dvxplorer",
    "silkyevcam": "centuryarks_vga",
    "triton2": "lucid_triton",
}


#: Comes with the package, and writes udev's rules of its cameras.
UDEV_PROGRAM = "neuromorphic-drivers-install-udev-rules"


@dataclass(frozen=True)
class PluggedIn:
    """A camera; problem: why it cannot be opened, None when it can be. kind: as in camera:KIND, None: of no such."""

    name: str
    kind: str | None
    connection: str
    serial: str | None
    problem: str | None


def list_cameras() -> list[PluggedIn]:
    """The cameras that the package finds. None where this machine has no USB. Raises UsageError without it."""
    try:
        listed = _drivers().list_devices()
    except RuntimeError:
        return []
    kinds = {module: kind for kind, module in CAMERAS.items()}
    return [
        PluggedIn(
            found.name.value, kinds.get(found.name.name.lower()), found.connection.value, found.serial, found.error
        )
        for found in listed
    ]


class UsbCamera(Source):
    """A camera on USB, or Ethernet (triton2): a key of CAMERAS. serial: which one, when there are several.

    knobs: what is to be other than the driver's defaults. Edges at the camera's trigger input are external triggers.

    The driver reads USB in a thread of its own; when we read too slowly its ring overflows, which is counted in
    `lost["overflows"]` (it does not know how many events that were).
    Raises UsageError for an unknown camera or a missing package, DeviceError when it cannot be opened.
    """

    def __init__(self, name: str, *, serial: str | None = None, knobs: Knobs | None = None) -> None:
        if name not in CAMERAS:
            raise UsageError(f"there is no camera {name!r}; known are {', '.join(CAMERAS)}")
        drivers = _drivers()
        model = getattr(drivers, CAMERAS[name], None)
        if model is None:
            raise UsageError(f"the version of neuromorphic-drivers that is here does not know the camera {name}")
        configuration = configured(name, model, knobs or Knobs())
        self._owned = contextlib.ExitStack()
        try:
            self._device = self._owned.enter_context(
                drivers.open(configuration=configuration, iterator_timeout=PACKET_SECONDS, serial=serial)
            )
        except Exception as error:  # the driver raises plain RuntimeErrors
            raise DeviceRefused(
                f"the camera {name} cannot be opened ({error}): is it plugged in, and may you use it? "
                f"{UDEV_PROGRAM} installs the rule"
            ) from None
        properties = self._device.properties()
        super().__init__(name, int(properties.width), int(properties.height), live=True)

    def packets(self) -> Iterator[NDArray[np.void]]:
        device = iter(self._device)
        while not self._stopped.is_set():
            try:
                _, packet = next(device)
            except StopIteration:
                return
            except Exception as error:
                raise DeviceGone(f"the camera {self.name} is gone ({error}): plug it in again") from None
            yield self._events(packet)

    def _events(self, packet: Any) -> NDArray[np.void]:
        events = getattr(packet, "polarity_events", None)
        self._keep_triggers(getattr(packet, "trigger_events", None))
        overflows = getattr(packet, "polarity_events_overflow_indices", None)
        self._count_lost("overflows", 0 if overflows is None else len(overflows))
        if events is None or len(events) == 0:
            return np.empty(0, EVENT_DTYPE)
        return as_events(events, self.width, self.height)

    def _keep_triggers(self, found: NDArray[np.void] | None) -> None:
        if not self.keeps_triggers or found is None or len(found) == 0:
            return
        triggers = np.zeros(len(found), TRIGGER_DTYPE)
        for name, theirs in (("t", "t"), ("id", "id"), ("p", "rising")):
            if theirs in (found.dtype.names or ()):
                triggers[name] = found[theirs]
        self._triggers.append(triggers)

    def close(self) -> None:
        self._owned.close()


def _drivers() -> Any:
    try:
        import neuromorphic_drivers
    except ImportError:
        raise UsageError("USB cameras need neuromorphic-drivers: pip install 'spedge[cameras]'") from None
    return neuromorphic_drivers
