"""Files of data sets that tests write, and what `make reproduce-clips` says; test_every_preset walks its road."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import spedge
from spedge.training.data import dvsgesture, slanimals
from tests import dataset_files
from tests.needs import needs
from tests.recording_files import Event, aedat3, nmnist
from tests.reproduce import clips

ROW = clips.Row("DG-T-SP", "--size nano", 1_187_211, 24, 30.0, 1.0, 250.0, 300.0, 2e-6)


def some(count: int, start_us: int) -> list[Event]:
    return [(start_us + 400 * i, i % 128, 7 * i % 128, i % 2) for i in range(count)]


def test_files_of_the_data_sets_are_found_and_cut(tmp_path: Path) -> None:
    """Special events, and those that are marked as not valid, are none of a gesture's."""
    gestures = [(2, some(3000, 70)), (9, some(500, 0))]
    for module, write in ((dvsgesture, dataset_files.dvsgesture), (slanimals, dataset_files.slanimals)):
        root = tmp_path / module.__name__
        write(root, gestures)
        found = module.find(root)
        assert {source.part: source.name for source in found.sources}.keys() == {"train", "validation", "test"}
        assert not found.problems
        for source in found.sources:
            cut = list(module.slices(source))
            assert [piece.label for piece in cut] == [1, 1, 8]
            assert [len(piece.events) for piece in cut] == [2500, 500, 500]
            assert cut[2].events.tolist() == some(500, 0)
    recording = spedge.open(tmp_path / dvsgesture.__name__ / "DvsGesture" / "user24_lab.aedat")
    assert len(recording.events()) == 3500
    assert recording.left_out == {"special": 1, "invalid": 1}


def test_a_recording_of_hours_is_read_as_it_was(tmp_path: Path) -> None:
    """The 31 bits of a packet's times run over after 36 minutes."""
    events = some(300, (1 << 31) - 60_000)
    aedat3(tmp_path / "a.aedat", events, 128)
    assert spedge.open(tmp_path / "a.aedat").events().tolist() == events


def test_clips_are_read_by_class(tmp_path: Path) -> None:
    for label in (3, 11):
        nmnist(tmp_path / f"{label}.bin", some(50, label))
    assert clips.read_clips(tmp_path) == [(3, some(50, 3)), (11, some(50, 11))]
    nmnist(tmp_path / "12.bin", some(50, 0))
    with pytest.raises(spedge.InputError, match=r"no clips 1\.bin to 11\.bin"):
        clips.read_clips(tmp_path)


def test_without_clips_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["clips", "--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")])
    assert clips.main() == 4
    said = capsys.readouterr().err
    assert said.startswith("spedge: error: There are no clips 1.bin to 11.bin in ")
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_does_not_fit_or_differs_is_said() -> None:
    assert clips.problems([ROW, replace(ROW, preset="DG-GNN-SP")]) == []
    wrong = [replace(ROW, accuracy=7 / 8), replace(ROW, difference=2e-4), replace(ROW, difference=float("nan"))]
    assert clips.problems(wrong) == [
        "DG-T-SP has 88% of the clips after 24 steps.",
        "The bundle of DG-T-SP and torch differ by 2.0e-04.",
        "The bundle of DG-T-SP and torch differ by nan.",
    ]
    assert "| DG-T-SP | 1,187,211 | 24 | 30 | 100% | 250 | 300 | 2.0e-06 |" in clips.markdown([ROW])


def test_a_command_that_fails_ends_it_with_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    needs("h5py")
    for label in (1, 2):
        nmnist(tmp_path / f"{label}.bin", some(50, label))
    monkeypatch.setattr("sys.argv", ["clips", "--data", str(tmp_path), "--out", str(tmp_path / "out")])
    monkeypatch.setattr(clips, "MODELS", {"DG-T-XXL": "--steps 3"})
    assert clips.main() == 2
    said = capfd.readouterr()
    assert "There is no preset 'DG-T-XXL'" in said.err
    assert "$ spedge preprocess dvsgesture --data" in said.out
