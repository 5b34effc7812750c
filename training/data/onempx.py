"""1Mpx (Perot et al. 2020): DAT recordings from a car, boxes at 30 or 60 Hz. Three of its seven classes are used."""

from __future__ import annotations

from spedge.model.parts import Sensor

from .base import About, Description
from .boxes import BoxRules
from .driving import DrivingSet

VERSION = 1
DESCRIPTION = Description(
    "1mpx", "1Mpx (Perot et al. 2020)", Sensor(1280, 720), ("pedestrian", "two-wheeler", "car"), mirrored=()
)
ABOUT = About(
    "https://www.prophesee.ai/2020/11/24/automotive-megapixel-event-based-dataset/",
    "14 hours of recordings",
    "for research, see its page",
    "{train,val,test}/*_td.dat with *_bbox.npy",
)
RULES = BoxRules(side=20, diagonal=60, kept_classes=3)
_SET = DrivingSet(DESCRIPTION, ABOUT, RULES, ".dat")
find, glance, chunks = _SET.find, _SET.glance, _SET.chunks
