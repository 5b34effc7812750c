"""eTraM (Verma et al. 2024): HDF5 recordings of traffic from a fixed camera, boxes at 30 Hz."""

from __future__ import annotations

from spedge.model.parts import Sensor

from .base import About, Description
from .boxes import BoxRules
from .driving import DrivingSet

VERSION = 1
DESCRIPTION = Description(
    "etram",
    "eTraM (Verma et al. 2024)",
    Sensor(1280, 720),
    ("pedestrian", "vehicle", "micro-mobility"),
    mirrored=(),
)
ABOUT = About(
    "https://eventbasedvision.github.io/eTraM/",
    "10 hours of recordings",
    "see its page",
    "Static/HDF5/{train,val,test}*_td.h5 with *_bbox.npy",
)
RULES = BoxRules(side=20, diagonal=60)
_SET = DrivingSet(DESCRIPTION, ABOUT, RULES, ".h5", by_name=True)
find, glance, chunks = _SET.find, _SET.glance, _SET.chunks
