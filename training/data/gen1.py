"""GEN1 (de Tournemire et al. 2020): DAT recordings of 60 s from a car, boxes at up to 4 Hz."""

from __future__ import annotations

from spedge.model.parts import Sensor

from .base import About, Description
from .boxes import BoxRules
from .driving import DrivingSet

VERSION = 1
DESCRIPTION = Description(
    "gen1", "GEN1 (de Tournemire et al. 2020)", Sensor(304, 240), ("car", "pedestrian"), mirrored=()
)
ABOUT = About(
    "https://www.prophesee.ai/2020/01/24/prophesee-gen1-automotive-detection-dataset/",
    "200 GB",
    "for research, see its page",
    "{train,val,test}/*_td.dat with *_bbox.npy",
)
RULES = BoxRules(side=10, diagonal=30)
_SET = DrivingSet(DESCRIPTION, ABOUT, RULES, ".dat")
find, glance, chunks = _SET.find, _SET.glance, _SET.chunks
