"""One set of names of cameras' formats: in options, sources, sessions, decoders, help and docs."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

import spedge
from spedge import cli
from spedge.cameras import heard, protocol_of
from spedge.device import Configuration
from spedge.events import evt2
from spedge.events.formats import FORMATS, WORD_FORMATS, format_name
from spedge.events.words import encoder
from spedge.recordings import write
from spedge.sources import SerialSource, open_source
from tests.events import scattered

OLDER = {"EVT2": "evt2", "EVT21": "evt2.1", "EVT21 legacy": "evt2.1-legacy", "EVT3": "evt3"} | {
    f"eDVS E{n}": f"edvs-e{n}" for n in range(5)
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_part_takes_the_same_names(name: str) -> None:
    assert format_name(name) == spedge.decoders.Decoder(name).format == Configuration(format=name).format == name
    assert protocol_of(name) in (name, "edvs")
    events = scattered(50, 5000, 0, 34, 70)
    assert spedge.decoders.Decoder(name).feed(encoder(name)(events)).tolist() == heard(events, name).tolist()


@pytest.mark.parametrize("older", OLDER)
def test_names_of_before_are_taken_for_them(older: str) -> None:
    assert set(OLDER.values()) == set(FORMATS)
    name = OLDER[older]
    for text in (older, older.lower(), older.upper()):
        assert format_name(text) == spedge.decoders.Decoder(text).format == Configuration(format=text).format == name


def test_numbers_are_those_of_the_library_and_the_wire(repository: Path) -> None:
    header = (repository / "firmware/lib/include/spedge/decode.h").read_text()
    numbers = {name: int(n) for name, n in re.findall(r"\bSP_FORMAT_(\w+) = (\d+)", header)}
    assert {name: f.library for name, f in FORMATS.items()} == {
        format_name(name.removesuffix("_LEGACY").replace("EDVS_", "EDVS-") + "-legacy" * ("_LEGACY" in name)): number
        for name, number in numbers.items()
    }
    assert len({f.wire for f in FORMATS.values()}) == len(FORMATS)


@pytest.mark.parametrize("name", [*WORD_FORMATS, "EVT21 legacy"])
def test_words_on_a_serial_port(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    master, slave = os.openpty()
    with open_source(f"serial:{os.ttyname(slave)},width=34,height=34,format={name}") as source:
        assert isinstance(source, SerialSource)
    os.close(master)
    os.close(slave)
    command = ["stream", "serial:/dev/null,width=34,height=34,format=wrong", "--out", str(tmp_path / "a.raw")]
    assert cli.execute(command) == 2
    assert "there is no camera format 'wrong'; known are evt2, evt2.1, evt2.1-legacy, evt3\n" in capsys.readouterr().err


@pytest.mark.parametrize("format", ["edvs-e0", "0", "9", "evt3"])
def test_an_edvs_without_times_is_no_source(format: str) -> None:
    with pytest.raises(spedge.UsageError, match=r"eDVS event format [09] is not possible|no camera format .*edvs-e4"):
        open_source(f"edvs:/dev/null,format={format}")


@pytest.mark.parametrize("encoding", ["evt2", "EVT2", "evt3", "EVT3"])
def test_encodings_of_recordings(encoding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = scattered(50, 5000, 0, 34, 70)
    write(tmp_path / "a.raw", events, 34, 34, encoding)
    assert spedge.open(tmp_path / "a.raw").format == f"RAW {encoding.upper()}"
    assert cli.execute(["convert", str(tmp_path / "a.raw"), str(tmp_path / "b.raw"), "--encoding", encoding]) == 0
    assert (tmp_path / "a.raw").read_bytes() == (tmp_path / "b.raw").read_bytes()
    capsys.readouterr()


def test_help_and_docs_say_them(repository: Path) -> None:
    """Where formats are written out in an option's help or in a page, the names are those of the table."""
    texts = [*(repository / "docs").glob("*.md"), repository / "README.md", *(repository / "host/spedge").rglob("*.py")]
    # names that were: EVT21, "eDVS E4"; a recording's format is its header's word, and only the table explains them
    known = {"host/spedge/events/formats.py", "host/spedge/recordings/raw.py"}
    for path in texts:
        if path.relative_to(repository).as_posix() not in known:
            found = re.findall(r"EVT21\b(?!Decoder)|\beDVS E\d|format=EVT\d|--format EVT\d", path.read_text())
            assert not found, f"{path}: {found}"


def test_an_encoder_goes_on_where_it_was() -> None:
    """Pieces are the same words as the whole; a time word when asked for."""
    events = scattered(400, 300_000, 3, 34, 2**34 - 1000)
    for start in (None, 0):
        encoder, whole = evt2.Encoder(start), evt2.Encoder(start)
        assert len(encoder.words(events[:0])) == 0
        pieces = [encoder.words(events[a : a + 37]) for a in range(0, len(events), 37)]
        np.testing.assert_array_equal(np.concatenate(pieces), whole.words(events))
        assert encoder.high == int(events["t"][-1]) >> 6
    again = encoder.words(events[-1:], time_first=True)
    assert again[0] >> 28 == 8 and len(again) == 2 and len(encoder.words(events[-1:])) == 1
