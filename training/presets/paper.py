"""The paper's 27 experiments (arXiv 2510.26614) as one table, to be held beside the paper's own; and its detector of
GEN1 on larger sensors.

Names: data set (DG DvsGesture, SL SL-Animals-DVS, G1 GEN1; ours are ET eTraM and MP 1Mpx), model, representation (SP
Spiking Patches, V voxels, F frames, E raw events). Of detectors the grid's cell is a patch, or 8 pixels of raw events.
"""

from __future__ import annotations

from dataclasses import replace

from spedge.model.parts import (
    Detector,
    Embedding,
    Encoder,
    EventInput,
    Gnn,
    Pcn,
    Representation,
    TokenInput,
    Transformer,
)
from spedge.tokens.settings import TokenizerSettings

from .base import SIZES, Preset, Recipe

_DATA = {"DG": "dvsgesture", "SL": "slanimals", "G1": "gen1", "ET": "etram", "MP": "1mpx"}
_DETECTION = ("G1", "ET", "MP")
_BUCKETS = 10
_FEATURES = 16  # of a token or an event, for a GNN or PCN
_EVENT_CELL = 8


def _spikes(threshold: float, absolute_us: int = 0) -> TokenizerSettings:
    return TokenizerSettings(threshold=float(threshold), absolute_refractory_us=absolute_us)


def _voxels(threshold: int, duration_ms: int) -> TokenizerSettings:
    return TokenizerSettings(kind="voxel", threshold=float(threshold), duration_us=1000 * duration_ms)


_BASE = Transformer(*SIZES["base"])
_GNN, _GNN_E = Gnn(3.0, 9.0, 0.1), Gnn(3.0, 30.0, 0.1)  # node radius, pool radius, share sampled
_PCN, _PCN_E = Pcn((1.0, 6.0), (0.5, 0.75)), Pcn((3.0, 6.0), (0.5, 0.25))  # radii, shares sampled
_GNN_G1, _GNN_G1_E = Gnn(2.0, 9.0, 0.9), Gnn(3.0, 9.0, 0.9)
_PCN_G1, _PCN_G1_E = Pcn((1.0, 6.0), (0.9, 0.9)), Pcn((3.0, 6.0), (0.9, 0.9))

# name; patch and tokenizer, or how many events and which; time scale, µs; encoder; batch; accumulated; steps; workers
_TABLE: tuple[tuple[str, tuple[int, TokenizerSettings | str], int, Encoder, int, int, int, int], ...] = (
    ("DG-T-SP", (16, _spikes(256)), 50_000, _BASE, 72, 1, 20_000, 4),
    ("SL-T-SP", (16, _spikes(256)), 50_000, _BASE, 36, 2, 5_000, 4),
    ("DG-T-V", (16, _voxels(1, 100)), 50_000, _BASE, 72, 1, 20_000, 4),
    ("SL-T-V", (16, _voxels(1, 100)), 50_000, _BASE, 36, 2, 5_000, 4),
    ("DG-T-F", (16, _voxels(0, 1000)), 50_000, _BASE, 72, 1, 20_000, 4),
    ("SL-T-F", (16, _voxels(0, 1000)), 50_000, _BASE, 72, 1, 15_000, 4),
    ("DG-GNN-SP", (8, _spikes(25)), 25_000, _GNN, 72, 1, 20_000, 4),
    ("SL-GNN-SP", (8, _spikes(25)), 25_000, _GNN, 72, 1, 30_000, 4),
    ("DG-GNN-V", (8, _voxels(1, 50)), 25_000, _GNN, 72, 1, 20_000, 4),
    ("SL-GNN-V", (8, _voxels(1, 50)), 25_000, _GNN, 72, 1, 30_000, 4),
    ("DG-GNN-E", (10_000, "first"), 10_000, _GNN_E, 36, 2, 20_000, 4),
    ("SL-GNN-E", (10_000, "first"), 10_000, _GNN_E, 36, 2, 30_000, 4),
    ("DG-PCN-SP", (4, _spikes(20)), 10_000, _PCN, 36, 2, 20_000, 10),
    ("SL-PCN-SP", (4, _spikes(20)), 10_000, _PCN, 36, 2, 30_000, 10),
    ("DG-PCN-V", (4, _voxels(1, 50)), 10_000, _PCN, 36, 2, 20_000, 10),
    ("SL-PCN-V", (4, _voxels(1, 50)), 10_000, _PCN, 36, 2, 30_000, 10),
    ("DG-PCN-E", (10_000, "first"), 10_000, _PCN_E, 72, 1, 20_000, 4),
    ("SL-PCN-E", (10_000, "first"), 10_000, _PCN_E, 72, 1, 30_000, 4),
    ("G1-T-SP", (16, _spikes(250, absolute_us=25_000)), 50_000, _BASE, 16, 1, 400_000, 4),
    ("ET-T-SP", (16, _spikes(250, absolute_us=25_000)), 50_000, _BASE, 16, 1, 400_000, 4),
    ("MP-T-SP", (16, _spikes(250, absolute_us=25_000)), 50_000, _BASE, 16, 1, 400_000, 4),
    ("G1-T-V", (16, _voxels(1, 50)), 50_000, _BASE, 16, 1, 400_000, 4),
    ("G1-T-F", (16, _voxels(0, 50)), 50_000, _BASE, 16, 1, 400_000, 4),
    ("G1-GNN-SP", (8, _spikes(50)), 10_000, _GNN_G1, 16, 1, 400_000, 4),
    ("G1-GNN-V", (8, _voxels(1, 25)), 10_000, _GNN_G1, 16, 1, 400_000, 4),
    ("G1-GNN-E", (2_000, "last"), 5_000, _GNN_G1_E, 16, 1, 400_000, 4),
    ("G1-PCN-SP", (8, _spikes(50)), 10_000, _PCN_G1, 16, 1, 400_000, 6),
    ("G1-PCN-V", (8, _voxels(1, 25)), 10_000, _PCN_G1, 16, 1, 400_000, 6),
    ("G1-PCN-E", (10_000, "last"), 10_000, _PCN_G1_E, 16, 1, 400_000, 4),
)


def _input(size: int, rule: TokenizerSettings | str, time_scale_us: int, encoder: Encoder) -> Representation:
    if isinstance(rule, str):
        return EventInput(size, rule, _FEATURES, float(time_scale_us))
    hidden = encoder.hidden if isinstance(encoder, Transformer) else _FEATURES
    embedding = Embedding(_BUCKETS, hidden, float(time_scale_us))
    return TokenInput(replace(rule, patch_size=size), embedding, origin="sample")


def _preset(
    name: str,
    seen: tuple[int, TokenizerSettings | str],
    time_scale_us: int,
    encoder: Encoder,
    batch: int,
    accumulate: int,
    steps: int,
    workers: int,
) -> Preset:
    data = name[:2]
    detects = data in _DETECTION
    cell = _EVENT_CELL if isinstance(seen[1], str) else 1
    rule = Recipe(
        batch=batch,
        steps=steps,
        learning_rate=1e-4 if isinstance(encoder, Transformer) else 1e-3,
        accumulate=accumulate,
        precision="fp32" if isinstance(encoder, Gnn) else "fp16",
        workers=workers,
        validate_epochs=3 if detects else 1,
        log_steps=100 if detects else 10,
    )
    model = Detector(encoder, encoder.gives, cell) if detects else encoder
    return Preset(name, _DATA[data], _input(*seen, time_scale_us, encoder), model, rule)


PRESETS = tuple(_preset(*row) for row in _TABLE)
