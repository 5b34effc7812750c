"""GEN1 (de Tournemire et al. 2020): what it is."""

from __future__ import annotations

from spedge.model.parts import Sensor

from .base import About, Description

DESCRIPTION = Description("gen1", "GEN1 (de Tournemire et al. 2020)", Sensor(304, 240), ("car", "pedestrian"))
ABOUT = About(
    "https://www.prophesee.ai/2020/01/24/prophesee-gen1-automotive-detection-dataset/",
    "200 GB",
    "for research, see its page",
    "{train,val,test}/*_td.dat with *_bbox.npy",
)
