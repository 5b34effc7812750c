"""The bundles that come with spedge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spedge.base.paths import assets_dir, bundle_names
from spedge.model.bundle import Bundle

#: Share of held-out recordings that each has right, as `spedge evaluate` counts it; assets/README.md says of which.
_TOP1 = {"gestures-320": 0.995, "gestures-pico": 0.995, "nmnist-pico": 0.987}


@dataclass(frozen=True)
class Shipped:
    """size: bytes of its files. top1: share of `held_out` recordings that it has right, None where nobody has counted.

    held_out: how many recordings of its data set it has not learned.
    """

    bundle: Bundle
    size: int
    top1: float | None
    held_out: int

    @property
    def name(self) -> str:
        return self.bundle.path.name


def shipped() -> list[Shipped]:
    """By their names. Raises InputError for one that is damaged."""
    return [_shipped(assets_dir() / name) for name in bundle_names()]


def _shipped(folder: Path) -> Shipped:
    bundle = Bundle.described(folder)
    size = sum(file.stat().st_size for file in folder.iterdir())
    held_out = int(dict(bundle.training.get("data", {})).get("held_out", 0))
    return Shipped(bundle, size, _TOP1.get(folder.name), held_out)
