"""iniVation's cameras by the names that files have for them."""

from __future__ import annotations

import re

_SENSORS = (
    (re.compile(r"davis-?_?346", re.I), (346, 260)),
    (re.compile(r"davis-?_?640", re.I), (640, 480)),
    (re.compile(r"davis-?_?240", re.I), (240, 180)),
    (re.compile(r"davis-?_?208", re.I), (208, 192)),
    (re.compile(r"davis-?_?128|dvs-?_?128|edvs", re.I), (128, 128)),
    (re.compile(r"dvxplorer.?lite", re.I), (320, 240)),
    (re.compile(r"dvxplorer", re.I), (640, 480)),
)


def sensor(name: str) -> tuple[int, int] | tuple[None, None]:
    """Width and height of the camera of that name, or of which it is a part."""
    return next((size for pattern, size in _SENSORS if pattern.search(name)), (None, None))
