"""NumPy files in the ways of the field: tables and structured arrays, alone or in .npz, times in seconds or µs."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import spedge
from spedge.recordings import CHUNK_EVENTS
from tests.recording_files import Event, some_events

EVENTS = some_events(600)
SIZE: dict[str, Any] = {"width": 128, "height": 96}
FIELDS = {name: np.array([event[i] for event in EVENTS]) for i, name in enumerate("txyp")}


def table(order: str, dtype: str, seconds: bool = False, signs: bool = False) -> NDArray[Any]:
    fields = {**FIELDS, "t": FIELDS["t"] / 1e6 if seconds else FIELDS["t"]}
    fields["p"] = 2 * fields["p"] - 1 if signs else fields["p"]
    return np.stack([fields[name] for name in order], axis=1).astype(dtype)


def structured(seconds: bool = False, **names: str) -> NDArray[Any]:
    """names: of each field its name and dtype, as in 'ts f8'."""
    out = np.zeros(len(EVENTS), [tuple(name.split()) for name in names.values()])
    for field, name in zip(names, out.dtype.names or (), strict=True):
        out[name] = FIELDS[field] / 1e6 if field == "t" and seconds else FIELDS[field]
    return out


TABLES = {
    "v2e": table("txyp", "u4"),
    "seconds": table("txyp", "f8", seconds=True),
    "mvsec": table("xytp", "f8", seconds=True, signs=True),
    "xypt": table("xypt", "i8"),
    "by columns": np.asfortranarray(table("txyp", "f8", seconds=True)),
    "real us": table("txyp", "f8"),
    "big-endian": table("txyp", ">i4", signs=True),
}
STRUCTURED = {
    "openeb": structured(x="x u2", y="y u2", p="p i2", t="t i8"),
    "faery": structured(t="t u8", x="x u2", y="y u2", p="on ?"),
    "dv": structured(t="timestamp i8", x="x i2", y="y i2", p="polarity i1"),
    "seconds": structured(True, t="ts f8", x="xs f4", y="ys f4", p="ps f4"),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_tables(name: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    if ending == ".npy":
        np.save(path, TABLES[name])
    else:
        np.savez_compressed(path, TABLES[name])
    recording = spedge.open(path, **SIZE)
    assert recording.events().tolist() == EVENTS
    assert recording.events().tolist() == EVENTS, "the second time"
    order = "xytp" if name == "mvsec" else "xypt" if name == "xypt" else "txyp"
    assert recording.layout.startswith(" ".join(order) + ", times in ")


@pytest.mark.parametrize("name", STRUCTURED)
@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_structured_arrays(name: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    if ending == ".npy":
        np.save(path, STRUCTURED[name])
    else:
        np.savez(path, events=STRUCTURED[name], labels=np.arange(3), **SIZE)
    recording = spedge.open(path, **(SIZE if ending == ".npy" else {}))
    assert recording.events().tolist() == EVENTS


@pytest.mark.parametrize("names", ["t x y p", "timestamp x y polarity", "ts xs ys ps", "time col row on"])
@pytest.mark.parametrize("seconds", [False, True])
def test_an_array_a_field(names: str, seconds: bool, tmp_path: Path) -> None:
    arrays = dict(zip(names.split(), (FIELDS[name] for name in "txyp"), strict=True))
    if seconds:
        arrays[names.split()[0]] = FIELDS["t"] / 1e6
    np.savez(tmp_path / "a.npz", **arrays, **SIZE)  # type: ignore[arg-type]
    assert spedge.open(tmp_path / "a.npz").events().tolist() == EVENTS


def test_the_clock_of_unix_in_seconds_keeps_its_microseconds(tmp_path: Path) -> None:
    t = 1_504_645_177_000_000 + np.arange(1000) * 7
    rows = np.stack([np.arange(1000) % 9, np.arange(1000) % 7, t / 1e6, np.ones(1000)], axis=1)
    np.save(tmp_path / "a.npy", rows)
    np.testing.assert_array_equal(spedge.open(tmp_path / "a.npy", **SIZE).events()["t"], t)


def test_several_arrays_of_events_are_named_and_chosen(tmp_path: Path) -> None:
    other = table("txyp", "i8")[:5]
    np.savez(tmp_path / "a.npz", left=table("txyp", "i8"), right=other)
    with pytest.raises(spedge.InputError, match=r"events are in left, right: say which, stream='left'"):
        spedge.open(tmp_path / "a.npz", **SIZE)
    assert spedge.open(tmp_path / "a.npz", **SIZE, stream="left").events().tolist() == EVENTS
    assert spedge.open(tmp_path / "a.npz", **SIZE, stream="right").events().tolist() == EVENTS[:5]
    with pytest.raises(spedge.InputError, match="left, right: say which"):
        spedge.open(tmp_path / "a.npz", **SIZE, stream="up")


@pytest.mark.parametrize(
    ("array", "complaint", "said"),
    [
        (np.array([[1, 2, 3, 1], [2, 2, 3, 0]]), "may be txyp or xytp", {"columns": "txyp"}),
        (np.array([[1, 2, 3, 0, 9], [2, 3, 2, 1, 9]]), "has 5 columns without names", {"columns": "txyp-"}),
        (np.array([[1.0, 2, 3, 0], [2.0, 3, 2, 1]]), "microseconds or seconds", {"time_unit": "us", "columns": "txyp"}),
    ],
)
def test_what_is_not_plain_is_asked_for(
    array: NDArray[Any], complaint: str, said: dict[str, Any], tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", array)
    known = {name: value for name, value in said.items() if name == "columns" and len(said) > 1}
    with pytest.raises(spedge.InputError, match=complaint):
        spedge.open(tmp_path / "a.npy", **SIZE, **known)
    assert spedge.open(tmp_path / "a.npy", **SIZE, **said).events()["t"].tolist() == [1, 2]


def test_a_table_with_an_event_a_column_is_written_the_other_way(tmp_path: Path) -> None:
    array = table("txyp", "i8").T
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(spedge.InputError, match=r"an event a column: write its transpose, array\.T"):
        spedge.open(tmp_path / "a.npy", **SIZE)
    np.save(tmp_path / "a.npy", array.T)
    assert spedge.open(tmp_path / "a.npy", **SIZE).events().tolist() == EVENTS


@pytest.mark.parametrize("name", ["v2e", "by columns"])
def test_a_cut_array_hands_out_what_is_before_the_cut(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, TABLES[name])
    data = path.read_bytes()
    rows = TABLES[name].itemsize * 4
    for cut in (len(data) - 1, len(data) - rows * 20 - 3, 140, 100, 7):
        path.write_bytes(data[:cut])
        events: list[Event] = []
        with pytest.raises(spedge.InputError, match=r"cut off (at entry|before its end at byte) \d+"):
            for chunk in spedge.open(path, **SIZE):
                events += chunk.tolist()
        whole = (cut - 128) // rows if name == "v2e" else len(EVENTS) - -(-(len(data) - cut) // (rows // 4))
        assert events == EVENTS[: max(0, whole)]


def test_a_wrong_event_is_named_behind_those_before_it(tmp_path: Path) -> None:
    for name, value in (("x", 7.5), ("y", -1.0), ("p", 2.0), ("t", np.nan), ("t", -1.0), ("t", 2e13)):
        array = table("txyp", "f8", seconds=True)
        array[300, "txyp".index(name)] = value
        np.save(tmp_path / "a.npy", array)
        events: list[Event] = []
        with pytest.raises(spedge.InputError, match=f"event 300 has {name}={value}; it must be a"):
            for chunk in spedge.open(tmp_path / "a.npy", **SIZE, columns="txyp", time_unit="s"):
                events += chunk.tolist()
        assert events == EVENTS[:300]


def test_arrays_that_are_no_events(tmp_path: Path) -> None:
    arrays: list[Any] = [
        np.zeros(5),
        np.zeros((5, 4), "U3"),
        np.zeros((2, 3, 4)),
        np.array(3),
        np.zeros(4, [("a", "i4")]),
    ]
    for array in arrays:
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(spedge.InputError, match=r"a\.npy"):
            spedge.open(tmp_path / "a.npy", **SIZE)
        np.savez(tmp_path / "a.npz", array, array)
        with pytest.raises(spedge.InputError, match="there are no arrays t, x, y and p"):
            spedge.open(tmp_path / "a.npz", **SIZE)


def test_many_rows_are_read_in_chunks(tmp_path: Path) -> None:
    count = CHUNK_EVENTS + 1000
    rows = np.stack([np.arange(count), np.arange(count) % 128, np.arange(count) % 96, np.arange(count) % 2], axis=1)
    for array in (rows, np.asfortranarray(rows)):
        np.save(tmp_path / "a.npy", array)
        chunks = list(spedge.open(tmp_path / "a.npy", **SIZE))
        assert list(map(len, chunks)) == [CHUNK_EVENTS, 1000]
        np.testing.assert_array_equal(np.concatenate([chunk["t"] for chunk in chunks]), rows[:, 0])


def test_no_byte_of_an_array_leads_to_anything_but_events_or_a_sentence(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for array, _ in itertools.product((TABLES["v2e"][:20], STRUCTURED["dv"][:20]), range(150)):
        file = io.BytesIO()
        np.save(file, array)
        data = bytearray(file.getvalue())
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        (tmp_path / "a.npy").write_bytes(data)
        try:
            spedge.open(tmp_path / "a.npy", **SIZE).events()
        except spedge.InputError as error:
            assert "a.npy" in str(error)
