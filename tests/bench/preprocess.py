"""What preprocessing takes, beside `spedge convert` to HDF5 of the same recording, in processor time of one core.

The recordings are the real clips of DvsGesture (`SPEDGE_SHARED`) one after another for half a minute, in the bytes of
DvsGesture and of GEN1.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.events.arrays import concatenate
from spedge.recordings.convert import convert
from spedge.training.preprocess import preprocess
from tests.bench.inputs import clips_folder, read_clip
from tests.bench.tokenizer import quickest

SECONDS = 30
REPEATS = 5
_PACKET = 4096
_PAUSE_US = 100_000
_BOX = np.dtype([("ts", "<u8"), *((side, "<f4") for side in "xywh"), ("class_id", "u1")])


def bench_preprocess(seconds: float = SECONDS, repeats: int = REPEATS) -> list[dict[str, Any]]:
    """A row for each data set: seconds of preprocessing and of `convert`, by turns, and their ratio."""
    events, starts = one_after_another(seconds)
    return [
        _row("dvsgesture", partial(write_gestures, events=events, starts=starts), len(events), repeats),
        _row("gen1", partial(write_driving, events=events), len(events), repeats),
    ]


def bench_jobs(recordings: int = 16, seconds: float = SECONDS) -> list[dict[str, Any]]:
    """Seconds by the clock of the command with one process and with two, for which two processors should be free."""
    events, _ = one_after_another(seconds)
    took = []
    with TemporaryDirectory() as folder:
        root = Path(folder)
        for i in range(recordings):
            write_driving(root, events, i)
        for jobs in (1, 2):
            given = ["preprocess", "gen1", "--data", root, "--out", root / f"store{jobs}", "--jobs", jobs]
            start = time.perf_counter()
            # Only its train part is there, which is said with exit code 4.
            subprocess.run([sys.executable, "-m", "spedge", *map(str, given)], capture_output=True)
            took.append(time.perf_counter() - start)
    return [
        {
            "recordings": recordings,
            "one_job_s": round(took[0], 2),
            "two_jobs_s": round(took[1], 2),
            "times_one_job": round(took[0] / took[1], 2),
        }
    ]


def _row(name: str, write: Callable[[Path], Path], events: int, repeats: int) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        root, numbers = Path(folder), count()
        recording = write(root)

        def preprocessed() -> None:  # into a new folder each time: what is there would be kept
            preprocess(name, root, root / f"store{next(numbers)}")

        def converted() -> None:
            convert(recording, root / "converted.hdf5")

        ours, converting = quickest([preprocessed, converted], repeats, time.process_time)
    return {
        "data": name,
        "events": events,
        "preprocess_s": round(ours, 3),
        "convert_s": round(converting, 3),
        "times_convert": round(ours / converting, 2),
        "mevents_per_s": round(events / ours / 1e6, 1),
    }


# ---------------------------------------------------------------- the recordings


def one_after_another(seconds: float) -> tuple[NDArray[Any], list[int]]:
    """Events of so many seconds or a little more, and where each clip starts, µs."""
    clips = [read_clip(file) for file in sorted(clips_folder().glob("*.bin"))]
    parts: list[NDArray[Any]] = []
    starts: list[int] = []
    now = 0
    while now < seconds * 1e6:
        part = clips[len(parts) % len(clips)].copy()
        part["t"] += np.uint64(now)
        parts.append(part)
        starts.append(now)
        now = int(part["t"][-1]) + _PAUSE_US
    return concatenate(parts), [*starts, now]


def write_gestures(root: Path, events: NDArray[Any], starts: list[int]) -> Path:
    """AEDAT 3.1, a table of a gesture for each clip, and the lists; the recording's file."""
    records = np.empty(len(events), [("data", "<u4"), ("t", "<i4")])
    x, y, p = (events[name].astype("<u4") for name in "xyp")
    records["data"], records["t"] = x << 17 | y << 2 | p << 1 | 1, events["t"]
    recording = root / "user01_lab.aedat"
    with recording.open("wb") as file:
        file.write(b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n")
        for start in range(0, len(records), _PACKET):
            packet = records[start : start + _PACKET]
            file.write(struct.pack("<HHIIIIII", 1, 1, 8, 4, 0, *[len(packet)] * 3) + packet.tobytes())
    rows = [f"{1 + i % 11},{a},{b - 1}\n" for i, (a, b) in enumerate(pairwise(starts))]
    (root / "user01_lab_labels.csv").write_text("class,startTime_usec,endTime_usec\n" + "".join(rows))
    (root / "trials_to_train.txt").write_text("user01_lab.aedat\n")
    (root / "trials_to_test.txt").write_text("")
    return recording


def write_driving(root: Path, events: NDArray[Any], number: int = 0) -> Path:
    """DAT with boxes at 4 Hz, in the middle of GEN1's sensor; the recording's file."""
    folder = root / "train"
    folder.mkdir(exist_ok=True)
    records = np.empty(len(events), [("t", "<u4"), ("address", "<u4")])
    x, y, p = (events[name].astype("<u4") for name in "xyp")
    records["t"], records["address"] = events["t"], x + 80 | (y + 50) << 14 | p << 28
    recording = folder / f"{number}_td.dat"
    recording.write_bytes(b"% Version 2\n% Width 304\n% Height 240\n\x00\x08" + records.tobytes())
    times = np.arange(249_999, int(events["t"][-1]), 250_000)
    boxes = np.zeros(len(times), _BOX)
    boxes["ts"], boxes["x"], boxes["y"], boxes["w"], boxes["h"] = times, 90, 60, 60, 80
    np.save(folder / f"{number}_bbox.npy", boxes)
    return recording


if __name__ == "__main__":
    for row in (*bench_preprocess(), *bench_jobs()):
        print(row)
