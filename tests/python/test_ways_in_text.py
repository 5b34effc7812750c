"""Text in the ways of the field: columns and units told by names and values, or asked for; never guessed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import spedge
from spedge.cli import app
from spedge.recordings import layout
from spedge.recordings.info import recording_info

EVENTS = [(1_000_000, 30, 134, 0), (1_000_780, 158, 59, 1), (1_002_001, 7, 8, 1)]


def written(folder: Path, text: str | bytes, name: str = "a.txt") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def lines(form: str, end: str = "\n") -> str:
    """EVENTS, a line each; s: seconds, u: µs, n: ns, q: -1/1, b: True/False."""
    return "".join(
        form.format(s=f"{t / 1e6:.9f}", u=t, n=t * 1000, m=f"{t / 1e3:.4f}", x=x, y=y, p=p, q=2 * p - 1, b=bool(p))
        + end
        for t, x, y, p in EVENTS
    )


@pytest.mark.parametrize(
    "text",
    [
        lines("{s} {x} {y} {p}"),
        lines("{s}\t{x}\t{y}\t{p}"),
        lines("{s},{x},{y},{p}"),
        lines("{s}; {x}; {y}; {q}"),
        lines("  {s}   {x} {y}  {q} "),
        lines("{s} {x} {y} {p}", "\r\n"),
        lines("{s} {x} {y} {p}", "\n\n\n"),
        "\n# t in s\n% so\n" + lines("{s} {x} {y} {b}") + "# end\n\n",
        "#!events.txt\n# Format is time (float s), x, y, polarity\n" + lines("{s} {x} {y} {p}"),
        lines("{u} {x} {y} {p}"),
        lines("{u},{x},{y},{b}"),
        lines("{x} {y} {u} {p}"),
        lines("{x},{y},{p},{u}"),
        lines("{x}\t{y}\t{s}\t{q}"),
        lines("{x}.0 {y}.000e0 {s} {q}"),
        "t x y p\n" + lines("{u} {x} {y} {p}"),
        "# timestamp x y polarity\n" + lines("{u} {x} {y} {p}"),
        "x,y,pol,ts\n" + lines("{x},{y},{q},{s}"),
        ",time,row,col,on\n" + lines("0,{u},{y},{x},{b}"),
        '"polarity","timestamp","frame","x","y"\n' + lines("{q},{u},no,{x},{y}"),
        "timestamp_ns,x,y,p\n" + lines("{n},{x},{y},{p}"),
        "timestamp[us] x y p\n" + lines("{u} {x} {y} {p}"),
        "t (ms),x,y,p\n" + lines("{m},{x},{y},{p}"),
        "time_s x y p\n" + lines("{s} {x} {y} {p}"),
        b"\xef\xbb\xbft,x,y,p\n" + lines("{u},{x},{y},{p}").encode(),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.tsv"])
def test_what_the_field_writes(text: str | bytes, name: str, tmp_path: Path) -> None:
    path = written(tmp_path, text, name)
    assert spedge.open(path, width=320, height=240).events().tolist() == EVENTS
    with pytest.raises(spedge.InputError, match="pass width and height"):
        spedge.open(path)


@pytest.mark.parametrize(
    "text",
    [
        "320 240\n" + lines("{s} {x} {y} {p}"),
        "t,x@320,y@240,on\n" + lines("{u},{x},{y},{p}"),
        "%geometry:320,240\n" + lines("{x},{y},{p},{u}"),
    ],
)
def test_sizes_that_a_text_keeps(text: str, tmp_path: Path) -> None:
    recording = spedge.open(written(tmp_path, text))
    assert (recording.width, recording.height, recording.events().tolist()) == (320, 240, EVENTS)


def test_the_cases_that_came_in(shared: Path) -> None:
    folder = shared / "cases/19-text-events-not-read"
    for name in ("events.txt", "events.csv"):
        events = spedge.open(folder / name, width=320, height=240).events()
        assert events.tolist() == [(0, 30, 134, 0), (780, 158, 59, 1)]
    assert spedge.open(folder / "faery.csv").events().tolist() == [(91, 10, 112, 1), (192, 123, 237, 0)]
    for name in ("blank.csv", "bools.csv"):
        assert spedge.open(folder / name, width=320, height=240).events().tolist() == [(1, 1, 2, 1), (2, 2, 3, 0)]


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("0.000779999", 780),
        ("0.0000005", 1),  # a half goes up
        ("0.00000049999999999999999999999", 0),
        ("1e-06", 1),
        ("2.5E-3", 2500),
        ("1504645177.123456789", 1_504_645_177_123_457),  # the clock of Unix: no digit is lost, as in a float64
        ("18446744073709.551615", 2**64 - 1),
        (".25", 250_000),
        ("+3.", 3_000_000),
        ("0000000000000000000000000000001.5", 1_500_000),
    ],
)
def test_seconds_are_rounded_to_the_nearest_microsecond(text: str, us: int, tmp_path: Path) -> None:
    path = written(tmp_path, f"{text} 1 2 1\n")
    assert spedge.open(path, width=4, height=4, columns="txyp", time_unit="s").events().tolist() == [(us, 1, 2, 1)]


@pytest.mark.parametrize(
    ("text", "unit", "us"),
    [("7.8125", "ms", 7813), ("1500", "ns", 2), ("1499", "ns", 1), ("7", "us", 7), ("7.5", "us", 8)],
)
def test_other_units_when_they_are_said(text: str, unit: str, us: int, tmp_path: Path) -> None:
    path = written(tmp_path, f"{text} 1 2 1\n")
    assert spedge.open(path, width=4, height=4, columns="txyp", time_unit=unit).events()["t"].tolist() == [us]


@pytest.mark.parametrize(
    ("text", "complaint", "said", "first"),
    [
        ("1 2 3 1\n2 2 3 0\n", "may be txyp or xytp", {"columns": "txyp"}, (1, 2, 3, 1)),
        ("5 7 1 0\n6 8 0 1\n", "may be", {"columns": "xypt"}, (0, 5, 7, 1)),
        ("1000 2 3 1 9\n", "has 5 columns without names", {"columns": "txyp-"}, (1000, 2, 3, 1)),
        ("a b c d\n7 1 2 1\n", "does not name the columns", {"columns": "txyp"}, (7, 1, 2, 1)),
        (
            "1.0 2 3 1\n2.0 2 3 1\n",
            "may be microseconds or seconds",
            {"time_unit": "us"},
            (1, 2, 3, 1),
        ),
        (
            f"{1_700_000_000 * 10**9} 2 3 1\n",
            "may be nanoseconds",
            {"time_unit": "ns"},
            (1_700_000_000 * 10**6, 2, 3, 1),
        ),
        (
            "".join(f"{i * 0.125:.3f} 2 3 1\n" for i in range(1, 99)),
            "may be seconds or milliseconds",
            {"time_unit": "ms"},
            (125, 2, 3, 1),
        ),
    ],
)
def test_what_is_not_plain_is_asked_for_and_the_answer_is_taken(
    text: str, complaint: str, said: dict[str, Any], first: tuple[int, ...], tmp_path: Path
) -> None:
    path = written(tmp_path, text)
    columns: dict[str, Any] = {} if "columns" in said else {"columns": "txyp"}
    with pytest.raises(spedge.InputError, match=complaint) as caught:
        spedge.open(path, width=10, height=10, **columns).events()
    assert f"{next(iter(said))}=" in str(caught.value)
    assert spedge.open(path, width=10, height=10, **columns, **said).events()[0].item() == first


def test_columns_that_are_none_of_the_field(tmp_path: Path) -> None:
    path = written(tmp_path, "1000 2 3 1 4 5\n")
    with pytest.raises(spedge.InputError, match="line 1 has 6 columns without names"):
        spedge.open(path, width=10, height=10)
    assert spedge.open(path, width=10, height=10, columns="t-yp-x").events().tolist() == [(1000, 5, 3, 1)]
    path = written(tmp_path, "1 2 3 4\n5 6 7 8\n")
    with pytest.raises(spedge.InputError, match="may be none of txyp, xytp, xypt: say their order"):
        spedge.open(path, width=10, height=10)
    with pytest.raises(spedge.InputError, match="line 1 has p=4"):
        spedge.open(path, width=10, height=10, columns="txyp").events()


def test_a_fraction_behind_whole_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "7 1 2 1\n8.5 1 2 1\n")
    monkeypatch.setattr(layout, "SAMPLE_ROWS", 1)
    with pytest.raises(
        spedge.InputError, match=r"line 2 has t=8\.5, but the times before it are whole: say their unit"
    ):
        spedge.open(path, width=10, height=10, columns="txyp").events()
    for unit, times in (("us", [7, 9]), ("s", [7_000_000, 8_500_000])):
        recording = spedge.open(path, width=10, height=10, columns="txyp", time_unit=unit)
        assert recording.events()["t"].tolist() == times


def test_columns_are_told_from_many_lines_though_times_are_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    events = [(i // 3, int(rng.integers(34)), int(rng.integers(34)), int(rng.integers(2))) for i in range(500)]
    for order in ("txyp", "xytp", "xypt"):
        rows = [" ".join(str(dict(zip("txyp", event, strict=True))[name]) for name in order) for event in events]
        recording = spedge.open(written(tmp_path, "\n".join(rows)), width=34, height=34)
        assert recording.layout.startswith(" ".join(order))
        assert recording.events().tolist() == events


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("1.1 1 2", "line 2 is '1.1 1 2', not 4 numbers with spaces between"),
        ("-0.5 1 2 1", "line 2 has t=-0.5; it must be at least 0"),
        ("1e30 1 2 1", "line 2 has t=1e30; it must be at least 0 and, in microseconds, at most 18446744073709551615"),
        ("1.1 12.5 2 1", "line 2 has x=12.5; it must be a whole number"),
        ("1.1 -1 2 1", "line 2 has x=-1; it must be 0 to 65535"),
        ("1.1 1 70000 1", "line 2 has y=70000; it must be 0 to 65535"),
        ("1.1 1 2 2", "line 2 has p=2; it must be -1 to 1"),
        ("nan 1 2 1", "line 2 is 'nan 1 2 1'"),
        ("1.1 1 2 1 5", "line 2 is '1.1 1 2 1 5'"),
        ("1.1 1 2 yes", "line 2 is '1.1 1 2 yes'"),
        ("0x1 1 2 1", "line 2 is '0x1 1 2 1'"),
        ("1.1e 1 2 1", "line 2 is '1.1e 1 2 1'"),
        ("9" * 5000, "line 2 is no line of a text file"),
    ],
)
def test_a_wrong_line_is_named_behind_those_before_it(line: str, complaint: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"1.000001 1 2 1\n{line}\n2.0 1 2 1\n")
    before = []
    with pytest.raises(spedge.InputError) as caught:
        for chunk in spedge.open(path, width=10, height=10, columns="txyp", time_unit="s"):
            before += chunk.tolist()
    assert complaint in str(caught.value)
    assert before == [(1_000_001, 1, 2, 1)] or "no line" in complaint


def test_what_is_said_must_make_sense(tmp_path: Path) -> None:
    path = written(tmp_path, lines("{s} {x} {y} {p}"))
    nonsense: list[dict[str, Any]] = [{"columns": "txy"}, {"columns": "txypp"}, {"columns": "t,x,y,p"}]
    for said in (*nonsense, {"time_unit": "min"}, {"stream": "left"}):
        with pytest.raises(spedge.UsageError, match=next(iter(said))):
            spedge.open(path, width=320, height=240, **said)
    raw = tmp_path / "a.raw"
    spedge.recordings.write(raw, np.zeros(1, spedge.EVENT_DTYPE), 4, 4)
    with pytest.raises(spedge.UsageError, match="leave columns"):
        spedge.open(raw, columns="txyp")


def test_info_and_convert_say_what_a_file_was_taken_for(tmp_path: Path) -> None:
    path = written(tmp_path, lines("{x} {y} {s} {q}"))
    assert recording_info(path, 320, 240).layout == "x y t p, times in seconds, polarity -1/1, between spaces"
    run = CliRunner().invoke(app, ["info", str(path), "--width", "320", "--height", "240", "--json"])
    assert json.loads(run.stdout)["layout"] == "x y t p, times in seconds, polarity -1/1, between spaces"
    few = written(tmp_path, "1 2 3 1\n2 2 3 0\n", "few.txt")
    size = ["--width", "320", "--height", "240"]
    out = tmp_path / "out.raw"
    asked = CliRunner().invoke(app, ["convert", str(few), str(out), *size])
    assert isinstance(asked.exception, spedge.InputError)
    assert (
        CliRunner()
        .invoke(app, ["convert", str(few), str(out), *size, "--columns", "txyp", "--time-unit", "ms"])
        .exit_code
        == 0
    )
    assert spedge.open(out).events().tolist() == [(1000, 2, 3, 1), (2000, 2, 3, 0)]


def test_files_longer_than_a_block_are_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spedge.recordings import text

    events = [(i * 10, i % 300, i % 200, i % 2) for i in range(3000)]
    path = written(tmp_path, "".join(f"{t / 1e6:.6f} {x} {y} {p}\n" for t, x, y, p in events).rstrip("\n"))
    monkeypatch.setattr(text, "_BLOCK_BYTES", 1000)
    monkeypatch.setattr(text, "CHUNK_EVENTS", 7)
    assert spedge.open(path, width=320, height=240).events().tolist() == events
    path.write_bytes(path.read_bytes() + b"\n1 2\n")
    with pytest.raises(spedge.InputError, match="line 3001 is '1 2'"):
        spedge.open(path, width=320, height=240).events()


@pytest.mark.parametrize(
    ("polarities", "said"),
    [("010", "0/1"), (("-1", "1", "-1"), "-1/1"), (("True", "False", "true"), "True/False"), ("111", None)],
)
def test_how_polarities_are_written_is_said(polarities: Sequence[str], said: str | None, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("t,x,y,p\n" + "".join(f"{i},1,2,{p}\n" for i, p in enumerate(polarities)))
    layout = spedge.open(path, width=9, height=9).layout
    assert layout == f"t x y p, times in microseconds{f', polarity {said}' if said else ''}, between commas"


def test_three_kinds_of_polarity_are_refused(tmp_path: Path) -> None:
    rows = np.array([[1, 2, 3, -1], [70_000, 3, 3, 0], [70_001, 3, 3, 1]])
    np.savetxt(tmp_path / "a.txt", rows, "%d")
    np.save(tmp_path / "a.npy", rows)
    for name in ("a.txt", "a.npy"):
        with pytest.raises(spedge.InputError, match="the polarities are -1, 0 and 1"):
            spedge.open(tmp_path / name, width=9, height=9)


@pytest.mark.parametrize("head", ["# timestamp [s] x y polarity\n", "t (s) x y p\n", "t [S],x,y,p\n"])
def test_units_that_stand_apart_from_their_names(head: str, tmp_path: Path) -> None:
    separator = "," if "," in head else " "
    lines = "".join(separator.join(map(str, row)) + "\n" for row in [(1, 3, 4, 1), (2, 3, 4, 0)])
    assert spedge.open(written(tmp_path, head + lines), width=9, height=9).events().tolist() == [
        (1_000_000, 3, 4, 1),
        (2_000_000, 3, 4, 0),
    ]


@pytest.mark.parametrize("line", ["1,3,x4,1", "1,3,4,on", "1,3,,1", "1;3;4;1"])
def test_a_wrong_first_line_is_no_line_of_names(line: str, tmp_path: Path) -> None:
    """Else whoever says the columns, as the sentence tells, loses an event in silence."""
    path = written(tmp_path, f"{line}\n2,3,4,0\n", "a.csv")
    with pytest.raises(spedge.InputError, match=r"line [12]"):
        spedge.open(path, width=9, height=9, columns="txyp").events()
    path = written(tmp_path, "when,column,row,what\n2,3,4,0\n", "a.csv")
    assert spedge.open(path, width=9, height=9, columns="txyp").events().tolist() == [(2, 3, 4, 0)]


def test_microseconds_that_were_seconds_once_are_whole_but_for_rounding(tmp_path: Path) -> None:
    n = np.arange(1000)
    t = (n * 1e-3 + 0.0005) * 1e6
    assert (t != np.floor(t)).any()
    rows = np.stack([t, n % 60, n * 7 % 60, n % 2], axis=1)
    np.savetxt(tmp_path / "a.txt", rows)
    np.save(tmp_path / "a.npy", rows)
    for name in ("a.txt", "a.npy"):
        recording = spedge.open(tmp_path / name, width=60, height=60)
        assert "times in microseconds" in recording.layout
        assert recording.events()["t"].tolist() == (500 + 1000 * n).tolist()


def test_fractions_over_days_are_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, "".join(f"{i * 1234.56789:.5f} {i % 60} {i * 7 % 60} {i % 2}\n" for i in range(1000)))
    with pytest.raises(spedge.InputError, match="may be microseconds or milliseconds or seconds"):
        spedge.open(path, width=60, height=60)
    events = spedge.open(path, width=60, height=60, time_unit="us").events()
    assert events["t"].tolist() == [int(i * 1234.56789 + 0.5) for i in range(1000)]


@pytest.mark.parametrize("text", ["1.00000e999 3 4 1", "0.1 3 4 1\n1.00000e999 3 4 1", "t x y p\n1e999 3 4 1"])
def test_times_beyond_all_numbers(text: str, tmp_path: Path) -> None:
    path = written(tmp_path, text + "\n")
    with pytest.raises(spedge.InputError, match=r"has t=1.*e999; it must be"):
        spedge.open(path, width=9, height=9, columns="txyp").events()
