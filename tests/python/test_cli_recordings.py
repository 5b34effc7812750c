"""Every verb that takes a recording says the same of the same file, and of events outside the sensor."""

from __future__ import annotations

import contextlib
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import spedge
from spedge import cli, recordings
from spedge.base.errors import CheckFailed
from spedge.cli.common import playing
from spedge.model.bundle import Bundle
from tests import recording_files as files
from tests.fuzz import cuts

SIDE = 34  # of the bundle's sensor


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "WIDTH", SIDE)
    monkeypatch.setattr(files, "HEIGHT", SIDE)


@pytest.fixture(autouse=True)
def devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording that is good gets as far as the device; no verb needs a board for what is wrong with one."""

    def reached(*_: object) -> None:
        raise CheckFailed("the device is asked for")

    for verb in ("check", "run"):
        monkeypatch.setattr(f"spedge.cli.{verb}.opened_device", reached)
    monkeypatch.setattr("spedge.jobs.check.encoder_of", lambda *_: None)
    # What is measured here is not speed.
    monkeypatch.setattr("spedge.bench.decoder.REPEATS", 1)
    monkeypatch.setattr("spedge.bench.tokenizer.REPEATS", 1)


class Verbs:
    """Calls of each verb. A verdict is the exit code and the sentence without what a verb says of its own file."""

    NAMES = ("info", "convert", "tokenize", "stream", "bench tokenizer", "bench decoder", "check", "run")

    def __init__(self, bundle: Bundle, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.bundle, self.out, self.capsys = bundle, folder / "out.npz", capsys

    def __call__(self, verb: str, path: Path, *options: str) -> tuple[int, str, str]:
        """Exit code, sentence on stderr, stdout."""
        before = [str(self.bundle.path)] if verb in ("check", "run") else []
        after = {"convert": [str(self.out)], "stream": ["--out", str(self.out)], "tokenize": ["--out", str(self.out)]}
        self.out.unlink(missing_ok=True)
        code = cli.execute([*verb.split(), *before, str(path), *after.get(verb, []), *options, "--json"])
        out, err = self.capsys.readouterr()
        sentence = err.removeprefix("spedge: error: ").rstrip()
        if sentence == "the device is asked for":
            return 0, "", out
        kept = r"; the (tokens of the |[\d,]+ )?events (before it|that had come) are in " + re.escape(str(self.out))
        return code, re.sub(kept, "", sentence), out


@pytest.fixture
def verbs(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Verbs:
    return Verbs(bundle, tmp_path, capsys)


# ---------------------------------------------------------------- verdicts


def header_only(data: bytes) -> bytes:
    return data[: data.index(b"% end\n") + 6]


FAULTS: dict[str, tuple[str, Callable[[bytes], bytes], int]] = {
    "good.raw": ("evt3.raw", bytes, 0),
    "good.npz": ("numpy.npz", bytes, 0),
    "good.h5": ("etram.h5", bytes, 0),
    "good.bin": ("nmnist.bin", bytes, 0),
    "cut.raw": ("evt2.raw", lambda data: data[:-3], 4),
    "cut.dat": ("dat.dat", lambda data: data[:-3], 4),
    "cut.es": ("dvs.es", lambda data: data[:-3], 4),
    "cut.bin": ("nmnist.bin", lambda data: data[:-3], 4),
    "cut.csv": ("text.csv", lambda data: data[:-4], 4),
    "cut.npz": ("numpy.npz", lambda data: data[:-3], 4),
    "cut.hdf5": ("prophesee.hdf5", lambda data: data[:-3], 4),
    "cut in the header.raw": ("evt2.raw", lambda data: data[:9], 4),
    "before the first event.raw": ("evt2.raw", lambda data: header_only(data) + b"\0\0", 4),
    "no event.raw": ("evt3.raw", header_only, 4),
    "padding alone.raw": ("evt3.raw", lambda data: header_only(data) + b"\x99\x99" * 9, 4),
    "no event.csv": ("text.csv", lambda data: data[: data.index(b"x,y,p,t\n") + 8], 4),
    "empty.raw": ("evt2.raw", lambda _: b"", 4),
    "damaged.dat": ("dat.dat", lambda data: data[:-1] + b"\xff", 4),
    "damaged.csv": ("text.csv", lambda data: data + b"what\n", 4),
    "back in time.dat": ("dat.dat", lambda data: data + struct.pack("<II", 5, 0), 4),
    "outside.dat": ("dat.dat", lambda data: data[:-4] + struct.pack("<I", SIDE), 4),
    "outside.raw": ("evt2.raw", lambda data: data + struct.pack("<I", 1 << 28 | SIDE), 4),
    "something else.raw": ("evt2.raw", lambda _: b"hello\n", 4),
    "another version.aedat": ("aedat2.aedat", lambda _: b"#!AER-DAT1.0\r\n" + bytes(8), 4),
    "no ending": ("evt2.raw", bytes, 4),
}


EVENTLESS = ("no event.raw", "padding alone.raw", "no event.csv")


@pytest.mark.parametrize("name", FAULTS)
def test_every_verb_has_the_same_verdict_on_a_file(name: str, verbs: Verbs, tmp_path: Path) -> None:
    format, fault, code = FAULTS[name]
    path = tmp_path / format
    files.write(path, format, files.some_events(100, SIDE, SIDE))
    path = path.rename(tmp_path / name)
    path.write_bytes(fault(path.read_bytes()))
    # There is nothing to be measured with no event, which is another matter than a file's.
    chosen = [verb for verb in Verbs.NAMES if name not in EVENTLESS or not verb.startswith("bench")]
    verdicts = {verb: verbs(verb, path)[:2] for verb in chosen}
    assert set(verdicts.values()) == {verdicts["info"]}, verdicts
    assert verdicts["info"][0] == code
    assert (str(path) in verdicts["info"][1]) == (code != 0)


@pytest.mark.parametrize("verb", Verbs.NAMES)
def test_a_file_that_is_not_there(verb: str, verbs: Verbs, tmp_path: Path) -> None:
    path = tmp_path / "none.raw"
    assert verbs(verb, path)[:2] == (4, f"{path}: there is no such file")


@pytest.mark.parametrize("verb", ["convert", "tokenize", "stream"])
def test_what_is_before_a_cut_is_kept_but_takes_no_file_s_place(verb: str, verbs: Verbs, tmp_path: Path) -> None:
    path = tmp_path / "evt2.raw"
    events = files.write(path, path.name, files.some_events(100, SIDE, SIDE))
    path.write_bytes(path.read_bytes()[:-3])
    code, _, _ = verbs(verb, path)
    assert code == 4
    with np.load(verbs.out) as kept:
        assert len(kept["t"]) == (0 if verb == "tokenize" else len(events) - 1)
    if verb == "stream":
        return  # as with a camera, what comes takes the file's place
    whole = verbs.out.read_bytes()
    before = ["spedge", verb, str(path), *(["--out"] if verb == "tokenize" else []), str(verbs.out)]
    assert cli.execute(before[1:]) == 4
    assert "was there before and stays as it is" in verbs.capsys.readouterr().err
    assert verbs.out.read_bytes() == whole


def test_check_reads_a_recording_once(verbs: Verbs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spedge.jobs import given

    paths = [tmp_path / "evt2.raw", tmp_path / "nmnist.bin"]
    for path in paths:
        files.write(path, path.name, files.some_events(100, SIDE, SIDE))
    opened: list[Path] = []
    real = recordings.open

    def counting(path: Path, **options: object) -> recordings.Recording:
        opened.append(path)
        return real(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(recordings, "open", counting)
    kept = given.require_recordings(verbs.bundle, paths)
    assert opened == paths == list(kept)
    assert all(np.array_equal(kept[path], spedge.open(path).events()) for path in paths)
    recorded = given.Given(verbs.bundle, read=kept)
    opened.clear()
    assert all(recorded.events(path) is kept[path] for path in paths)
    assert opened == []
    monkeypatch.setattr(given, "KEPT_EVENTS", len(kept[paths[0]]))  # what is too much to be kept is read again
    kept = given.require_recordings(verbs.bundle, paths)
    assert list(kept) == paths[:1]
    recorded = given.Given(verbs.bundle, read=kept)
    opened.clear()
    assert len(recorded.events(paths[1])) > 0
    assert opened == paths[1:]


# ---------------------------------------------------------------- events outside the sensor

OUTSIDE = (5, 40, -1)  # which of the events


def outside_by_format(format: str, path: Path) -> list[files.Event]:
    """A file whose events are outside the sensor, some of them; the others."""
    if format == "aedat3.aedat":  # of a DVS128
        events, far = files.some_events(100), 200
    elif format == "davis.aedat":
        sample = cuts.samples(path.parent, (format,))[0]
        data, events = bytearray(sample.data), list(sample.events)
        for i in OUTSIDE:
            at = (sample.ends or [])[i] - 8
            data[at : at + 4] = struct.pack(">I", 500 << 12)
        path.write_bytes(data)
        return without(events)
    elif format == "plain.aedat4":
        sample = cuts.samples(path.parent, (format,))[0]
        data, events = bytearray(sample.data), list(sample.events)
        for i in OUTSIDE:
            at = (sample.ends or [])[i] - 8
            data[at : at + 2] = struct.pack("<h", -1)
        path.write_bytes(data)
        return without(events)
    else:
        events, far = files.some_events(100, SIDE, SIDE), 100
    for i in OUTSIDE:
        t, _, y, p = events[i]
        events[i] = (t, far, y, p)
    return without(files.write(path, format, events))


def without(events: list[files.Event]) -> list[files.Event]:
    left = list(events)
    for i in sorted(OUTSIDE, key=lambda i: i % len(events), reverse=True):
        del left[i]
    return left


FORMATS = [name for name in files.FORMATS if name != "aedat2.aedat" and not name.startswith("aedat4")]


@pytest.mark.parametrize("format", [*FORMATS, "davis.aedat", "plain.aedat4"])
def test_events_outside_the_sensor_in_every_format_by_every_verb(format: str, verbs: Verbs, tmp_path: Path) -> None:
    path = tmp_path / format
    inside = outside_by_format(format, path)
    size = (spedge.open(path).width, spedge.open(path).height)
    chosen = [verb for verb in Verbs.NAMES if verb not in ("check", "run") or size == (SIDE, SIDE)]
    for verb in chosen:
        code, sentence, out = verbs(verb, path, "--outside", "drop")
        assert (code, sentence) == (0, ""), verb
        document = json.loads(out) if out else {}
        if verb in ("info", "convert", "tokenize"):
            assert document["events"] == len(inside)
        if verb in ("info", "convert", "tokenize", "stream"):
            counts = document["lost" if verb == "stream" else "left_out"]
            assert sum(counts.get(name, 0) for name in ("outside", "clipped")) == len(OUTSIDE)
        if verb in ("convert", "stream"):
            assert spedge.open(verbs.out).events().tolist() == inside
    refused = {verbs(verb, path, "--outside", "refuse")[:2] for verb in chosen}
    assert len(refused) == 1, refused
    ((code, sentence),) = refused
    assert code == 4 and "outside" in sentence and "--outside drop" in sentence
    by_default = {verbs(verb, path)[:2] for verb in chosen}
    assert by_default == ({(0, "")} if format == "evt3.raw" else refused)


@pytest.mark.parametrize("format", ["events.npy", "seconds.txt", "nmnist.bin", "mvsec.hdf5"])
def test_a_size_that_is_given_has_events_outside_of_it(format: str, verbs: Verbs, tmp_path: Path) -> None:
    """Where a file does not say its size, a size that is too small is refused, or drops what it is asked to drop."""
    (sample,) = cuts.samples(tmp_path, (format,))
    path = tmp_path / format
    path.write_bytes(sample.data)
    inside = [event for event in sample.events if event[1] < 20]
    assert 0 < len(inside) < len(sample.events)
    size = ("--width", "20", "--height", "34")
    chosen = [verb for verb in Verbs.NAMES if verb not in ("check", "run")]
    for verb in chosen:
        code, sentence, out = verbs(verb, path, *size, "--outside", "drop")
        assert (code, sentence) == (0, ""), verb
        if verb == "info":
            assert json.loads(out)["left_out"] == {"outside": len(sample.events) - len(inside)}
        if verb in ("convert", "stream"):
            assert spedge.open(verbs.out).events().tolist() == inside
    refused = {verbs(verb, path, *size, *option)[:2] for verb in chosen for option in ((), ("--outside", "refuse"))}
    assert len(refused) == 1, refused
    ((code, sentence),) = refused
    assert code == 4 and "--outside drop" in sentence


def test_a_recording_that_is_played_to_a_board_s_camera_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--play of run and stream."""
    played: list[object] = []

    class Camera(contextlib.nullcontext[None]):
        def __init__(self, address: str, events: np.ndarray, protocol: str) -> None:
            super().__init__()
            played.append((address, events.tolist(), protocol))

    monkeypatch.setattr("spedge.cameras.EmulatedCamera", Camera)
    inside = outside_by_format("evt2.raw", tmp_path / "evt2.raw")
    device: Any = SimpleNamespace(name="a board", camera_address="unix:here")
    with playing(device, tmp_path / "evt2.raw", "evt3", recordings.Reading(outside="drop")):
        assert played == [("unix:here", inside, "evt3")]
    with (
        pytest.raises(spedge.InputError, match="outside the 34x34 sensor"),
        playing(device, tmp_path / "evt2.raw", "evt3", recordings.PLAIN),
    ):
        pass


@pytest.mark.parametrize("verb", Verbs.NAMES)
def test_an_unknown_choice_is_named(verb: str, verbs: Verbs, tmp_path: Path) -> None:
    path = tmp_path / "evt2.raw"
    files.write(path, path.name, files.some_events(100, SIDE, SIDE))
    code, sentence, _ = verbs(verb, path, "--outside", "keep")
    assert code == 2
    assert "drop or refuse" in sentence
