"""GEN1 (de Tournemire et al. 2020): what it is."""

from __future__ import annotations

from spedge.model.parts import Sensor

from .base import Description

DESCRIPTION = Description("gen1", "GEN1 (de Tournemire et al. 2020)", Sensor(304, 240), ("car", "pedestrian"))
