"""HDF5 in the ways of the field: where the events are, which of two cameras, units, offsets and sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest

import spedge
from tests.recording_files import Event, some_events

EVENTS = some_events(600)
FIELDS = {name: np.array([event[i] for event in EVENTS]) for i, name in enumerate("txyp")}
SIZE: dict[str, Any] = {"width": 128, "height": 96}
UNIX = 1_504_645_177_000_000


def rows(order: str, seconds: bool = False, base: int = 0, signs: bool = False) -> np.ndarray:
    t = FIELDS["t"] + base
    fields = {**FIELDS, "t": t / 1e6 if seconds else t, "p": 2 * FIELDS["p"] - 1 if signs else FIELDS["p"]}
    return np.stack([fields[name] for name in order], axis=1)


def dsec(file: h5py.File) -> None:
    for name, dtype in {"x": "u2", "y": "u2", "t": "u4", "p": "u1"}.items():
        file.create_dataset(
            f"events/{name}", data=FIELDS[name].astype(dtype), compression=hdf5plugin.Blosc(cname="zstd")
        )
    file["ms_to_idx"] = np.arange(10, dtype=np.uint64)
    file["t_offset"] = np.int64(UNIX)


def rvt(file: h5py.File) -> None:
    for name, dtype in {"x": "u2", "y": "u2", "t": "i8", "p": "u1"}.items():
        file[f"events/{name}"] = FIELDS[name].astype(dtype)
    file["events/height"], file["events/width"] = 96, 128


def event_utils(file: h5py.File) -> None:
    for name, dtype in {"xs": "i2", "ys": "i2", "ps": "?"}.items():
        file[f"events/{name}"] = FIELDS[name[0]].astype(dtype)
    file["events/ts"] = FIELDS["t"] / 1e6
    file.attrs["sensor_resolution"] = (96, 128)
    file.attrs["t0"] = FIELDS["t"][0] / 1e6
    for i in range(70):
        file[f"images/image{i:09d}"] = np.zeros((2, 2), np.uint8)


def v2e(file: h5py.File) -> None:
    file.create_dataset("events", data=rows("txyp").astype(np.uint32), compression="gzip", maxshape=(None, 4))


def mvsec_one(file: h5py.File) -> None:
    file["davis/left/events"] = rows("xytp", seconds=True, base=UNIX, signs=True)
    file["davis/left/imu"] = np.zeros((9, 6))


def structured(file: h5py.File) -> None:
    out = np.zeros(len(EVENTS), [("timestamp", "i8"), ("x", "u2"), ("y", "u2"), ("polarity", "i1")])
    out["timestamp"], out["x"], out["y"], out["polarity"] = (FIELDS[name] for name in "txyp")
    file["events"] = out


def at_the_root(file: h5py.File) -> None:
    for name in "txyp":
        file[name] = FIELDS[name]


def any_name(file: h5py.File) -> None:
    file["myDataset"] = rows("xytp", seconds=True)


def evlib(file: h5py.File) -> None:
    """Fields in seconds, with the unit in the name."""
    group = file.create_group("events")
    group["t_s"], group["x"], group["y"], group["p"] = FIELDS["t"] / 1e6, FIELDS["x"], FIELDS["y"], FIELDS["p"]
    group.attrs["width"], group.attrs["height"] = 128, 96


KINDS: dict[str, tuple[Callable[[h5py.File], None], int, bool, str, str]] = {
    "DSEC": (dsec, UNIX, False, "HDF5 /events", "microseconds"),
    "RVT": (rvt, 0, True, "HDF5 /events", "microseconds"),
    "event_utils": (event_utils, 0, False, "HDF5 /events", "seconds"),
    "v2e": (v2e, 0, False, "HDF5 /events", "microseconds"),
    "MVSEC": (mvsec_one, UNIX, False, "HDF5 /davis/left/events", "seconds"),
    "structured": (structured, 0, False, "HDF5 /events", "microseconds"),
    "root": (at_the_root, 0, False, "HDF5 /", "microseconds"),
    "another name": (any_name, 0, False, "HDF5 /myDataset", "seconds"),
    "evlib": (evlib, 0, True, "HDF5 /events", "seconds"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_field_writes(kind: str, tmp_path: Path) -> None:
    make, base, sized, format, unit = KINDS[kind]
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        make(file)
    recording = spedge.open(path, **({} if sized else SIZE))
    assert (recording.width, recording.height) == (128, 96)
    assert recording.events().tolist() == [(t + base, x, y, p) for t, x, y, p in EVENTS]
    assert recording.format == format
    polarity = "-1/1" if kind == "MVSEC" else "True/False" if kind == "event_utils" else "0/1"
    assert recording.layout.endswith(f"times in {unit}, polarity {polarity}")
    assert recording.size_from == ("the file" if sized else "the caller")
    if not sized:
        with pytest.raises(spedge.InputError, match="pass width and height"):
            spedge.open(path)


def test_two_cameras_are_named_and_never_merged(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        mvsec_one(file)
        file["davis/right/events"] = rows("xytp", seconds=True, signs=True)[:50]
    with pytest.raises(
        spedge.InputError, match=r"events are in /davis/left/events, /davis/right/events: say which"
    ) as told:
        spedge.open(path, **SIZE)
    assert "stream='/davis/left/events'" in str(told.value)
    left = [(t + UNIX, x, y, p) for t, x, y, p in EVENTS]
    for camera in ("left", "/davis/left/events", "davis/left/events"):
        assert spedge.open(path, **SIZE, stream=camera).events().tolist() == left
    assert spedge.open(path, **SIZE, stream="right").events().tolist() == EVENTS[:50]
    for camera in ("davis", "up"):
        with pytest.raises(spedge.InputError, match="say which"):
            spedge.open(path, **SIZE, stream=camera)


def test_groups_of_two_cameras(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for side, count in (("left", 20), ("right", 30)):
            for name in "txyp":
                file[f"prophesee/{side}/{name}"] = FIELDS[name][:count]
    with pytest.raises(spedge.InputError, match="/prophesee/left, /prophesee/right"):
        spedge.open(path, **SIZE)
    assert spedge.open(path, **SIZE, stream="right").events().tolist() == EVENTS[:30]


def test_triggers_beside_the_events_are_no_second_camera(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    events = np.array(EVENTS, [("t", "u8"), ("x", "u2"), ("y", "u2"), ("p", "u1")])
    spedge.recordings.write(path, events, 128, 96)
    with h5py.File(path, "a") as file:
        file["EXT_TRIGGER/events"] = np.zeros(3, [("p", "i2"), ("t", "i8"), ("id", "i2")])
    assert spedge.open(path).events().tolist() == EVENTS


def test_what_is_not_plain_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["events"] = np.array([[1, 2, 3, 1], [2, 2, 3, 0]])
    with pytest.raises(spedge.InputError, match="may be txyp or xytp"):
        spedge.open(path, **SIZE)
    assert spedge.open(path, **SIZE, columns="xytp").events().tolist() == [(3, 1, 2, 1), (3, 2, 2, 0)]
    with h5py.File(path, "w") as file:
        dsec(file)
    with pytest.raises(spedge.UsageError, match="leave columns"):
        spedge.open(path, **SIZE, columns="txyp")
    assert spedge.open(path, **SIZE, time_unit="ns").events()["t"][0] == (FIELDS["t"][0] + UNIX + 500) // 1000


def test_tables_of_more_columns_are_read_as_told(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["events"] = np.hstack([np.zeros((len(EVENTS), 1)), rows("xytp", seconds=True)])
    with pytest.raises(spedge.InputError, match="there is neither"):
        spedge.open(path, **SIZE)
    with pytest.raises(spedge.InputError, match="there is neither"):
        spedge.open(path, **SIZE, columns="xytp--")
    assert spedge.open(path, **SIZE, columns="-xytp").events().tolist() == EVENTS
    with h5py.File(path, "w") as file:
        file["events"] = rows("xytp")
    with pytest.raises(spedge.InputError, match="it has 4 columns, and columns='-xytp' is of another length"):
        spedge.open(path, **SIZE, columns="-xytp")


def test_times_before_0_behind_the_offset_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        dsec(file)
        file["t_offset"][()] = -int(FIELDS["t"][10]) - 1
    with pytest.raises(spedge.InputError, match=r"event 0 has t=-\d+; it must be a number of at least 0"):
        spedge.open(path, **SIZE).events()


def test_events_before_a_damaged_block_are_handed_out(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for name in "txyp":
            file.create_dataset(f"events/{name}", data=FIELDS[name], chunks=(64,), compression="gzip", fletcher32=True)
        place = file["events/x"].id.get_chunk_info(4).byte_offset
    data = bytearray(path.read_bytes())
    data[place + 8] ^= 0xFF
    path.write_bytes(data)
    events: list[Event] = []
    with pytest.raises(spedge.InputError, match="cannot read event 256 and those after it"):
        for chunk in spedge.open(path, **SIZE):
            events += chunk.tolist()
    assert events == EVENTS[:256]


def test_files_without_events(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["event_representations/data"] = np.zeros((3, 20, 8, 8), np.uint8)
        file["kind"] = np.dtype([("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "i2")])  # a type with a name
        file["nothing"] = h5py.Empty("f8")
    with pytest.raises(spedge.InputError, match="there is neither /CD/events nor /events"):
        spedge.open(path, **SIZE)
