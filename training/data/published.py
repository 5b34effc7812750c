"""The data sets of the paper: what they are."""

from __future__ import annotations

from spedge.model.parts import Sensor

from .base import Description

DESCRIPTIONS = {
    d.name: d
    for d in (
        Description(
            "dvsgesture",
            "DvsGesture (Amir et al. 2017)",
            Sensor(128, 128),
            (
                "hand clapping", "right hand wave", "left hand wave", "right arm clockwise",
                "right arm counter-clockwise", "left arm clockwise", "left arm counter-clockwise", "arm roll",
                "air drums", "air guitar", "other gestures",
            ),
        ),
        # Its files number the signs and name none.
        Description(
            "slanimals",
            "SL-Animals-DVS (Vasudevan et al. 2021)",
            Sensor(128, 128),
            tuple(f"sign {number}" for number in range(1, 20)),
        ),
        Description("gen1", "GEN1 (de Tournemire et al. 2020)", Sensor(304, 240), ("car", "pedestrian")),
    )
}  # fmt: skip
