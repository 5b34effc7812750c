"""What cameras and their programs really write: words of no meaning, chips, sources, versions. No guess, no loss."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import spedge
from spedge.events.decoders import Decoder
from tests import recording_files as files

Event = tuple[int, int, int, int]

# ---------------------------------------------------------------- the cases of real files


@pytest.mark.parametrize(
    ("name", "size", "events", "left_out"),
    [
        ("05-evt3-padding-9999/padding.raw", (1280, 720), [(4106, 7, 5, 1), (4116, 8, 5, 0)], {"unknown": 2}),
        ("07-aedat2-other-chip-as-dvs128/dvs640.aedat", (640, 480), [(1, 10, 5, 1), (2, 300, 9, 0)], {}),
        ("07-aedat2-other-chip-as-dvs128/dvxplorer.aedat", (640, 480), [(10, 600, 400, 1)], {}),
        (
            "09-aedat31-two-cameras-merged/two.aedat",
            (240, 180),
            [(10, 1, 2, 1), (11, 3, 4, 0)],
            {"source 1 (DVS128)": 1},
        ),
        (
            "09-aedat31-two-cameras-merged/own_type.aedat",
            (240, 180),
            [(10, 1, 2, 1), (11, 3, 4, 0)],
            {"type 100": 1},
        ),
        ("15-dat-version-1/v1.dat", (304, 240), [(100, 5, 32, 1), (110, 6, 64, 0), (120, 300, 0, 1)], {}),
        ("15-dat-version-1/v1b.dat", (304, 240), [(100, 5, 3, 1)], {}),
    ],
)
def test_files_that_were_misread(
    name: str, size: tuple[int, int], events: list[Event], left_out: dict[str, int], shared: Path
) -> None:
    recording = spedge.open(shared / "cases" / name)
    assert (recording.width, recording.height) == size
    assert recording.events().tolist() == events
    assert recording.left_out == left_out


# ---------------------------------------------------------------- words of no meaning


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("format", ["evt2.raw", "evt21.raw", "evt21-legacy.raw", "evt3.raw"])
def test_words_of_any_type_are_skipped_and_counted_as_the_decoder_of_boards_counts(
    format: str, seed: int, tmp_path: Path
) -> None:
    path = tmp_path / format
    expected, counts = files.with_strays(format, path, seed)
    recording = spedge.open(path)
    assert recording.events().tolist() == expected
    assert recording.left_out == counts
    decoder = Decoder(recording.format.removeprefix("RAW "), width=recording.width, height=recording.height)
    data = path.read_bytes()
    decoder.feed(data[data.index(b"% end\n") + 6 :])
    names = ("unknown", "triggers", "other", "untimed", "clipped", "outside")
    assert {name: n for name in names if (n := getattr(decoder.stats, name))} == counts


def test_a_file_of_padding_alone_has_no_event_and_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(files.prophesee_header("evt 3.0") + b"\x99\x99" * 500)
    recording = spedge.open(path)
    assert len(recording.events()) == 0
    assert recording.left_out == {"unknown": 500}


# ---------------------------------------------------------------- AEDAT 2.0: chips


def aedat2(path: Path, records: list[tuple[int, int]], *lines: str) -> Path:
    head = "".join(f"#{line}\r\n" for line in ("!AER-DAT2.0", *lines)).encode()
    path.write_bytes(head + b"".join(struct.pack(">II", *record) for record in records))
    return path


def dvs128(t: int, x: int, y: int, p: int) -> tuple[int, int]:
    return y << 8 | x << 1 | p, t


def dvs640(t: int, x: int, y: int, p: int) -> tuple[int, int]:
    return y << 11 | x << 1 | p, t


def davis(t: int, x: int, y: int, p: int) -> tuple[int, int]:
    return y << 22 | x << 12 | p << 11, t


CHIPS = [
    ("ch.unizh.ini.jaer.chip.retina.DVS128", dvs128, (128, 128), False),
    ("ch.unizh.ini.jaer.chip.retina.Tmpdiff128", dvs128, (128, 128), False),
    ("eu.seebetter.ini.chips.davis.DAVIS240C", davis, (240, 180), True),
    ("eu.seebetter.ini.chips.davis.Davis346blue", davis, (346, 260), True),
    ("eu.seebetter.ini.chips.davis.DAVIS640", davis, (640, 480), True),
    ("ch.unizh.ini.jaer.chip.retina.DVS640", dvs640, (640, 480), False),
    ("eu.seebetter.ini.chips.DVXplorer", davis, (640, 480), False),
]


@pytest.mark.parametrize(("chip", "record", "size", "turned"), CHIPS)
def test_the_chip_of_an_aedat2_file(
    chip: str, record: Any, size: tuple[int, int], turned: bool, tmp_path: Path
) -> None:
    """Corners, and rows whose number needs the highest bits. DAVIS counts both axes from the other end."""
    w, h = size
    at = [(0, 0, 1), (w - 1, 0, 0), (0, h - 1, 1), (w - 1, h - 1, 0), (w // 3, h // 3 * 2, 1)]
    records = [record(t, x, y, p) for t, (x, y, p) in enumerate(at)]
    path = aedat2(tmp_path / "a.aedat", records, f" AEChip: {chip}", "End Of ASCII Header")
    recording = spedge.open(path)
    assert (recording.width, recording.height) == size
    expected = [(t, w - 1 - x if turned else x, h - 1 - y if turned else y, p) for t, (x, y, p) in enumerate(at)]
    assert recording.events().tolist() == expected


@pytest.mark.parametrize(
    ("record", "size", "turned"),
    [(dvs128, (128, 128), False), (davis, (240, 180), True), (davis, (346, 260), True), (dvs640, (640, 480), False)],
)
@pytest.mark.parametrize("by_v2e", [False, True])
def test_a_size_tells_the_chip_where_the_header_does_not(
    record: Any, size: tuple[int, int], turned: bool, by_v2e: bool, tmp_path: Path
) -> None:
    """v2e writes no chip; its files of 640x480 are turned, too."""
    w, h = size
    lines = [" This file is created by v2e"] if by_v2e else []
    path = aedat2(tmp_path / "a.aedat", [record(7, 2, 5, 1), record(9, w - 1, h - 2, 0)], *lines)
    recording = spedge.open(path, width=w, height=h)
    turned = turned or (by_v2e and record is dvs640)
    expected = [(7, w - 3, h - 6, 1), (9, 0, 1, 0)] if turned else [(7, 2, 5, 1), (9, w - 1, h - 2, 0)]
    assert recording.events().tolist() == expected


def test_without_chip_and_size_only_what_must_be_a_dvs128_is_read(tmp_path: Path) -> None:
    path = aedat2(tmp_path / "a.aedat", [dvs128(1, 5, 6, 1), dvs128(2, 127, 127, 0)])
    assert spedge.open(path).events().tolist() == [(1, 5, 6, 1), (2, 127, 127, 0)]
    for records, *lines in ([dvs640(1, 300, 40, 1)],), ([davis(1, 3, 1, 0)],), ([dvs128(1, 5, 6, 1)], " v2e"):
        path = aedat2(tmp_path / "b.aedat", records, *lines)
        with pytest.raises(spedge.InputError, match=r"names no chip.*pass width and height.*640x480 \(DVS640\)"):
            spedge.open(path)
    with pytest.raises(spedge.InputError, match=r"names no chip.*not of 320x240"):
        spedge.open(path, width=320, height=240)


@pytest.mark.parametrize("chip", ["DVS320", "cochlea.CochleaAMS1c", "Octopus", "DVS128Extended"])
def test_another_chip_is_named_and_not_guessed(chip: str, tmp_path: Path) -> None:
    path = aedat2(tmp_path / "a.aedat", [dvs128(1, 5, 6, 1)], f" AEChip: ch.unizh.ini.jaer.chip.{chip}")
    with pytest.raises(spedge.InputError, match=f"names the chip {chip.rpartition('.')[2]}; cannot read"):
        spedge.open(path)
    with pytest.raises(spedge.InputError, match="128x128"):  # a size does not make it another chip
        path = aedat2(path, [dvs128(1, 5, 6, 1)], " AEChip: DVS128")
        spedge.open(path, width=64, height=64)


@pytest.mark.parametrize("end", [True, False])
def test_data_may_begin_as_header_lines_do(end: bool, tmp_path: Path) -> None:
    """A first record of row 140 begins with '#'; the line that ends the header says so, or what no text holds."""
    first = davis(10, 0x312, 140, 0)[0]  # addresses of this row begin with 0x23
    assert first >> 24 == ord("#")
    lines = ["End Of ASCII Header"] if end else []
    events = [(10, 20, 141, 0), (11, 20, 141, 1)]
    path = aedat2(tmp_path / "a.aedat", [davis(*event) for event in events], " AEChip: DVXplorer", *lines)
    assert spedge.open(path).events().tolist() == events
    if end:  # then it may look like text altogether
        text = struct.unpack(">II", b"#ab\nxyz\n")
        path = aedat2(path, [text], " AEChip: DVXplorer", *lines)
        (event,) = spedge.open(path, outside="drop").events().tolist() or [None]
        address = text[0]
        inside = address >> 22 & 511 < 480
        assert event == ((text[1], address >> 12 & 1023, address >> 22 & 511, address >> 11 & 1) if inside else None)


def test_special_records_of_each_family_are_counted(tmp_path: Path) -> None:
    marks = {"DVS128": [0x8000, 1 << 31], "DVS640": [1 << 31], "DAVIS240C": [1 << 31, 1 << 10], "DVXplorer": [1 << 10]}
    for chip, bits in marks.items():
        records = [(0, 1), *((bit, 2) for bit in bits), (0, 3)]
        recording = spedge.open(aedat2(tmp_path / "a.aedat", records, f" AEChip: {chip}"))
        assert recording.events()["t"].tolist() == [1, 3]
        assert recording.left_out == {"other": len(bits)}


# ---------------------------------------------------------------- AEDAT 3.1: sources and types


def packet3(kind: int, source: int, records: list[tuple[int, int]], size: int = 8) -> bytes:
    body = b"".join(struct.pack("<II", *record).ljust(size, b"\0") for record in records)
    count = len(records)
    return struct.pack("<HHIIIIII", kind, source, size, 4, 0, count, count, count) + body


def polarity3(*events: Event) -> list[tuple[int, int]]:
    return [(x << 17 | y << 2 | p << 1 | 1, t) for t, x, y, p in events]


def aedat3(path: Path, sources: list[str], *packets: bytes) -> Path:
    lines = ["!AER-DAT3.1", "Format: RAW", *sources, "Start-Time: 2026-01-01 00:00:00", "!END-HEADER"]
    path.write_bytes("".join(f"#{line}\r\n" for line in lines).encode() + b"".join(packets))
    return path


def test_sources_are_never_merged(tmp_path: Path) -> None:
    """Not even when their times would make one recording of them; the first one that has events is read."""
    path = aedat3(
        tmp_path / "a.aedat",
        ["Source 1: DAVIS240C", "Source 7: DVXplorer", "Source 9: DVS128"],
        packet3(3, 1, [(1, 1)] * 2, 36),  # inertial measurements of the first one are no events
        packet3(1, 7, polarity3((5, 600, 400, 1))),
        packet3(1, 1, polarity3((6, 1, 1, 1), (7, 2, 2, 0))),
        packet3(1, 9, polarity3((8, 3, 3, 1))),
        packet3(1, 7, polarity3((9, 601, 401, 0))),
    )
    recording = spedge.open(path)
    assert (recording.width, recording.height) == (640, 480)
    assert recording.events().tolist() == [(5, 600, 400, 1), (9, 601, 401, 0)]
    assert recording.left_out == {"imu6": 2, "source 1 (DAVIS240C)": 2, "source 9 (DVS128)": 1}


@pytest.mark.parametrize("kind", [0, 2, 4, 5, 9, 13, 14, 99, 100, 255, 32767])
def test_packets_of_any_type_are_passed_over_by_their_size(kind: int, tmp_path: Path) -> None:
    events = [(5, 1, 2, 1), (9, 3, 4, 0)]
    path = aedat3(
        tmp_path / "a.aedat",
        ["Source 0: DAVIS346"],
        packet3(1, 0, polarity3(events[0])),
        packet3(kind, 0, [(0xFFFFFFFF, 0xFFFFFFFF)] * 3, 52),
        packet3(1, 0, polarity3(events[1])),
    )
    recording = spedge.open(path)
    assert recording.events().tolist() == events
    ((name, count),) = recording.left_out.items()
    assert count == 3
    assert (name == f"type {kind}") == (kind > 13)


def test_events_of_a_source_that_the_header_does_not_name(tmp_path: Path) -> None:
    path = aedat3(tmp_path / "a.aedat", ["Source 1: DVS128"], packet3(1, 3, polarity3((5, 1, 2, 1))))
    assert spedge.open(path).events().tolist() == [(5, 1, 2, 1)]  # one source, and one that is named
    path = aedat3(path, ["Source 1: DVS128", "Source 2: DAVIS346"], packet3(1, 3, polarity3((5, 1, 2, 1))))
    with pytest.raises(spedge.InputError, match="pass width and height"):
        spedge.open(path)
    assert spedge.open(path, width=64, height=64).events().tolist() == [(5, 1, 2, 1)]


# ---------------------------------------------------------------- versions


def dat(path: Path, version: str | None, records: list[tuple[int, int]], kind: int = 0, *lines: str) -> Path:
    head = [*([] if version is None else [f"Version {version}"]), *lines]
    data = "".join(f"% {line}\n" for line in head or ["Data file"]).encode() + bytes([kind, 8])
    path.write_bytes(data + b"".join(struct.pack("<II", *record) for record in records))
    return path


@pytest.mark.parametrize("version", [None, "1", "2"])
def test_every_bit_of_dat_addresses(version: str | None, tmp_path: Path) -> None:
    y, p = (9, 17) if version == "1" else (14, 28)
    w, h = (304, 240) if version == "1" else (1280, 720)
    events = [(t, x, row, t & 1) for t, (x, row) in enumerate((1 << i, 1 << j) for i in range(8) for j in range(7))]
    events.append((99, w - 1, h - 1, 1))
    records = [(t, polarity << p | row << y | x) for t, x, row, polarity in events]
    lines = () if version == "1" else (f"Height {h}", f"Width {w}")
    recording = spedge.open(dat(tmp_path / "a.dat", version, records, 0, *lines))
    assert (recording.width, recording.height) == (w, h)
    assert recording.events().tolist() == events


def unread() -> Iterator[tuple[str, str, bytes, str]]:
    yield "dat", "a.dat", b"% Version 3\n\0\x08" + bytes(8), "DAT version '3'; only 1 and 2"
    yield "dat of triggers", "a.dat", b"% Version 2\n\x0e\x08" + bytes(8), "events of type 14 and 8 bytes"
    yield "dat of 16 bytes", "a.dat", b"% Version 2\n\x00\x10" + bytes(16), "events of type 0 and 16 bytes"
    yield "raw", "a.raw", b"% format EVT4;width=8;height=8\n% end\n" + bytes(8), "cannot read EVT4, only EVT2"
    yield "old raw", "a.raw", b"% evt 1.0\n% geometry 8x8\n" + bytes(8), "cannot read EVT 1.0"
    for version in ("1.0", "3.0", "3.2", "5.0"):
        yield f"aedat {version}", "a.aedat", f"#!AER-DAT{version}\r\n".encode() + bytes(8), f"AEDAT version '{version}'"
    zipped = b"#!AER-DAT3.1\r\n#Format: Serial\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"
    yield "aedat 3.1 compressed", "a.aedat", zipped, "AEDAT 3.1 of Serial format, only RAW"
    for major in (1, 3):
        stream = b"Event Stream" + bytes([major, 0, 0, 1, 8, 0, 8, 0])
        yield f"es {major}", "a.es", stream, f"version {major}.0.0"
    yield "es of another kind", "a.es", b"Event Stream" + bytes([2, 0, 0, 3, 8, 0, 8, 0]), "display events"
    npy = b"\x93NUMPY\x09\x00" + struct.pack("<I", 4) + b"{}  "
    yield "npy", "a.npy", npy, "version"


@pytest.mark.parametrize(("name", "data", "says"), [pytest.param(*rest, id=identity) for identity, *rest in unread()])
def test_versions_that_are_not_read_are_named(name: str, data: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(spedge.InputError) as caught:
        spedge.open(path, width=8, height=8)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
