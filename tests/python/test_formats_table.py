"""The table of recordings' formats says what the readers do, and the documentation says what the table says."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import spedge
from spedge import recordings
from spedge.events import formats as words
from spedge.recordings.table import FORMATS, Format
from tests import recording_files


def row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def expected_rows() -> list[str]:
    """Of both tables in docs/recordings.md."""
    read = [
        row(
            format.name,
            ", ".join(f"`{ending}`" for ending in format.endings),
            format.reads,
            format.writes,
            f"`spedge[{format.extra}]`" if format.extra else "",
        )
        for format in FORMATS
    ]
    return read + [row(f.name, f.size, f.outside, f.left_out, f.cut) for f in FORMATS]


def test_the_documentation_has_the_table(repository: Path) -> None:
    lines = (repository / "docs/recordings.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("|") and not line.startswith(("|-", "| format |"))]
    assert rows == expected_rows()


def test_the_readme_has_the_names(repository: Path) -> None:
    text = " ".join((repository / "README.md").read_text().split())
    *names, last = [format.name for format in FORMATS]
    assert f"come as {', '.join(names)} and {last}s" in text
    of_words = [f"`{name}`" for name in words.FORMATS]
    edvs = len(words.EDVS_FORMATS)
    assert f"called {', '.join(of_words[:-edvs])}, and {', '.join(of_words[-edvs:])}" in text


def test_endings_and_extras_are_those_there_are(repository: Path) -> None:
    assert {ending for format in FORMATS for ending in format.endings} == set(recordings.formats())
    extras = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {format.extra for format in FORMATS} - {""} <= set(extras)


def test_what_is_said_to_be_written_is(tmp_path: Path) -> None:
    for format in FORMATS:
        can = False
        for ending in format.endings:
            try:
                with recordings.create(tmp_path / f"a{ending}", 9, 9):
                    can = True
            except spedge.UsageError:
                continue
        assert can == bool(format.writes), format.name


def of(recording: recordings.Recording) -> Format:
    """The row that a recording belongs to."""
    fits = [f for f in FORMATS if recording.path.suffix in f.endings and recording.format.startswith(f.says)]
    assert len(fits) == 1, recording
    return fits[0]


@pytest.mark.parametrize("format", recording_files.FORMATS)
def test_recordings_are_as_their_row_says(format: str, tmp_path: Path) -> None:
    path = tmp_path / format
    recording_files.write(path, format)
    try:
        recording = spedge.open(path)
    except spedge.InputError:  # it does not say the sensor's size
        recording = spedge.open(path, width=recording_files.WIDTH, height=recording_files.HEIGHT)
    line = of(recording)
    drops = "dropped" in line.outside and "EVT3" in recording.format
    assert recording.outside == ("drop" if drops else "refuse")
    assert {f.name for f in FORMATS if f.outside != "refused"} == {"Prophesee RAW", "ROS bag"}
    for _ in recording:
        pass
    assert all(f"`{name}`" in line.left_out for name in recording.left_out), recording.left_out
