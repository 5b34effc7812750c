"""Small detection sets in the bytes of the published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.events.arrays import empty_events
from spedge.training.data.base import Sample
from spedge.training.data.moving_digits import parts_of, write
from spedge.training.preprocess import preprocess

PARTS = ("train", "val", "test")


def digit(label: int, seed: int) -> Sample:
    """A square that fires all over for a third of a second."""
    random = np.random.default_rng(seed)
    events = empty_events(1200)
    events["t"] = np.sort(random.integers(0, 300_000, 1200))
    side = 12 + label
    events["x"], events["y"] = 7 + random.integers(0, side, 1200), 8 + random.integers(0, side, 1200)
    events["p"] = random.integers(0, 2, 1200)
    return Sample(events, label, f"digit {seed}")


def moving_digits(folder: Path) -> Path:
    """Five recordings of 1.2 seconds, as `spedge.training.data.moving_digits` writes them: 3, 1 and 1."""
    write(folder, parts_of([digit(i % 10, i) for i in range(30)], [], 0), 0, seconds=1.2, per_recording=8)
    return folder


def digits_store(folder: Path) -> Path:
    """The same, preprocessed."""
    preprocess("nmnist-det", moving_digits(folder / "raw"), folder / "store", chunk_ms=50)
    return folder / "store"


def write_driving(path: Path, events: NDArray[Any], boxes: NDArray[Any]) -> None:
    """A recording by its ending, .dat or .h5, and its boxes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".dat":
        records = np.zeros(len(events), [("t", "<u4"), ("address", "<u4")])
        records["t"] = events["t"]
        records["address"] = (
            events["x"].astype("<u4") | events["y"].astype("<u4") << 14 | events["p"].astype("<u4") << 28
        )
        path.write_bytes(b"% Version 2\n\x00\x08" + records.tobytes())  # files of these sets may not say the size
    else:
        import h5py

        with h5py.File(path, "w") as file:
            for name in "xytp":
                file[f"events/{name}"] = events[name].astype(np.int64 if name == "t" else np.int16)
    np.save(path.with_name(path.stem.removesuffix("_td") + "_bbox.npy"), boxes)


def box_table(count: int, field: str = "ts") -> NDArray[Any]:
    """Records as Prophesee's files have them, all zeros. field: what the time is called."""
    fields = [(field, "<u8"), *((s, "<f4") for s in "xywh"), ("class_id", "u1"), ("class_confidence", "<f4")]
    return np.zeros(count, [*fields, ("track_id", "<u4")])


def driving(root: Path, name: str, classes: int, seconds: float = 1.0, events: int = 6_000) -> Path:
    """GEN1, 1Mpx or eTraM (`name`) with one recording in each part: two boxes that move to the right, whose middle
    fires.

    Boxes of GEN1 are on the last µs of a chunk, at 4 Hz; those of the others at 30 Hz, wherever that falls.
    """
    width, height = (304, 240) if name == "gen1" else (1280, 720)
    for number, part in enumerate(PARTS):
        random = np.random.default_rng(number)
        period = 250_000 if name == "gen1" else 33_333
        times = np.arange(1, int(1e6 * seconds) // period + 1) * period - 1
        time = "ts" if name == "gen1" else "t"
        boxes = box_table(2 * len(times), time)
        found = empty_events(events)
        found["t"] = np.sort(random.integers(0, int(1e6 * seconds), events))
        found["p"] = random.integers(0, 2, events)
        for which in range(2):
            side, top = height // 6, height // 5 * (1 + 2 * which)
            left = random.uniform(0, width / 3) + width / 16 * 1e-6 * times
            own = boxes[which::2]
            own[time], own["x"], own["y"], own["w"], own["h"] = times, left, top, side, side
            own["class_id"], own["class_confidence"], own["track_id"] = (which + number) % classes, 1, which
            mine = found[which::2]
            at = np.interp(mine["t"], times, left)
            mine["x"] = at + side / 2 + random.integers(-4, 4, len(mine))
            mine["y"] = top + side // 2 + random.integers(-4, 4, len(mine))
        ending = f"{part}_day_000{number}_td.h5" if name == "etram" else f"a{number}_td.dat"
        folder = root / "Static" / "HDF5" if name == "etram" else root / "detection_dataset_duration_60s"
        write_driving(folder / part / ending, found, boxes)
    return root
