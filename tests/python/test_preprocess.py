"""Published data sets: found, cut into slices as published, kept in a store that is never half written."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import spedge
from spedge.base.errors import InputError, UsageError
from spedge.training.data import dvsgesture, folder, slanimals
from spedge.training.data.published import Slice
from spedge.training.data.registry import load_dataset
from spedge.training.data.slices import open_store
from spedge.training.preprocess import preprocess
from tests.golden_models import Case, cases
from tests.needs import needs

needs("h5py")


def hash_of(events: NDArray[Any]) -> bytes:
    """As the golden values have it: packed rows in the order of t, y, x, p."""
    rows = np.zeros(len(events), [("t", "<u4"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])
    for name in rows.dtype.names or ():
        rows[name] = events[name]
    order = np.lexsort((events["p"], events["x"], events["y"], events["t"]))
    return hashlib.sha256(rows[order].tobytes()).digest()


def unpack(case: Case, root: Path, place: dict[str, str]) -> None:
    """Write a case's files. place: folder of each ending."""
    for name in case.names("file:"):
        path = root / place.get(Path(name).suffix, "") / name.removeprefix("file:")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(case[name].tobytes())


@pytest.fixture
def gestures_root(tmp_path: Path) -> Path:
    root = tmp_path / "raw" / "dvs_gesture"
    unpack(Case("preprocess-dvsgesture"), root / "DvsGesture", {})
    return root


def numbered(slices: Sequence[Slice]) -> list[tuple[Any, ...]]:
    return [
        (s.group, s.label + 1, len(s.events), int(s.events["t"][0]), int(s.events["t"][-1]), hash_of(s.events))
        for s in slices
    ]


@pytest.mark.parametrize("name", cases(6, array=r"^file:trials_to_train\.txt$"))
def test_gestures_are_cut_as_they_should_be(name: str, tmp_path: Path) -> None:
    case = Case(name)
    unpack(case, tmp_path / "DvsGesture", {})
    found = dvsgesture.find(tmp_path)
    assert not found.problems
    listed = {
        line.removesuffix(".aedat")
        for part in ("train", "test")
        for line in bytes(case[f"file:trials_to_{part}.txt"]).decode().split()
    }
    assert {source.name for source in found.sources} == listed
    right = {
        tuple(row[[0, 1, 3, 4, 5]].tolist()): bytes(digest)
        for row, digest in zip(case["right_slices"], case["right_hash"], strict=True)
    }
    got = {
        (int(source.name[4:6]), label, count, first, last): digest
        for source in found.sources
        for _, label, count, first, last, digest in numbered(list(dvsgesture.slices(source)))
    }
    assert len(got) == len(case["right_slices"])
    assert got == right


def test_parts_of_the_gestures(gestures_root: Path) -> None:
    parts = {source.name: source.part for source in dvsgesture.find(gestures_root).sources}
    assert parts == {"user05_lab": "train", "user24_led": "test"}


@pytest.mark.parametrize("name", cases(6, array=r"^file:user\d+_(?!.*_labels)\w+\.csv$"))
def test_signs_are_cut_as_the_authors_cut_them(name: str, tmp_path: Path) -> None:
    case = Case(name)
    unpack(case, tmp_path, {".aedat": "allusers_aedat", ".csv": "tags_updated_19_08_2020"})
    got = [row for source in slanimals.find(tmp_path).sources for row in numbered(list(slanimals.slices(source)))]
    assert [row[1:5] for row in got] == [tuple(row[[0, 2, 3, 4]].tolist()) for row in case["right_slices"]]
    assert [row[5] for row in got] == [bytes(digest) for digest in case["right_hash"]]


def test_parts_of_the_signs() -> None:
    names = {
        "user12_indoor": "validation",
        "user14_indoor": "test",
        "user22_sunlight": "validation",
        "user22_indoor": "train",
        "user31_imse": "validation",
        "user59_dc": "test",
        "user01_indoor": "train",
    }
    assert {name: slanimals.part_of(name) for name in names} == names


# ---------------------------------------------------------------- the store


def contents(root: Path) -> dict[str, Any]:
    """All that a store says, and all its events."""
    found = {}
    for name in ("train", "validation", "test"):
        for sample in open_store(root, "dvsgesture").part(name):
            found[sample.name] = (sample.label, sample.group, hash_of(sample.events))
    return found


def test_a_store_gives_what_was_cut(gestures_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    first = preprocess("dvsgesture", gestures_root, out)
    assert (first.recordings, first.made, first.kept) == (2, 2, 0)
    dataset = load_dataset("dvsgesture", out)
    assert len(dataset.train) + len(dataset.test) == first.samples == 20
    cut = list(dvsgesture.slices(dvsgesture.find(gestures_root).sources[0]))
    for sample, piece in zip(dataset.train, cut, strict=True):
        assert (sample.label, sample.group) == (piece.label, piece.group)
        np.testing.assert_array_equal(sample.events, piece.events)
    again = preprocess("dvsgesture", gestures_root, out)
    assert (again.made, again.kept) == (0, 2)


def test_what_has_changed_is_made_anew(gestures_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "store"
    preprocess("dvsgesture", gestures_root, out)
    before = open_store(out, "dvsgesture").fingerprint
    table = gestures_root / "DvsGesture" / "user05_lab_labels.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    changed = preprocess("dvsgesture", gestures_root, out)
    assert (changed.made, changed.kept) == (1, 1)
    assert open_store(out, "dvsgesture").fingerprint != before
    file = next(out.rglob("user24_led.h5"))
    content = bytearray(file.read_bytes())
    file.write_bytes(content[: len(content) // 2])
    assert preprocess("dvsgesture", gestures_root, out).made == 1
    monkeypatch.setattr(dvsgesture, "VERSION", 2)
    assert preprocess("dvsgesture", gestures_root, out).made == 2


def test_killed_and_run_again_it_is_as_if_undisturbed(gestures_root: Path, tmp_path: Path) -> None:
    preprocess("dvsgesture", gestures_root, tmp_path / "whole")
    out = tmp_path / "killed"
    script = (
        "import sys\nfrom spedge.training.preprocess import preprocess\n"
        f"preprocess('dvsgesture', {str(gestures_root)!r}, {str(out)!r}, jobs=2)\n"
    )
    random = np.random.default_rng(5)
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", f"if __name__ == '__main__':\n    exec({script!r})"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(random.uniform(0.3, 1.5))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if (out / "index.json").exists():
            assert contents(out) == contents(tmp_path / "whole")
        else:
            with pytest.raises(UsageError, match="not finished"):
                open_store(out, "dvsgesture")
    preprocess("dvsgesture", gestures_root, out)
    assert contents(out) == contents(tmp_path / "whole")


# ---------------------------------------------------------------- what is missing or wrong


def test_what_is_missing_is_said(gestures_root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        preprocess("dvsgesture", tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no DvsGesture .* see https"):
        preprocess("dvsgesture", tmp_path / "empty", tmp_path / "out")
    (tmp_path / "empty" / "DvsGesture.tar.gz").write_bytes(b"")
    with pytest.raises(InputError, match="unpack it there"):
        preprocess("dvsgesture", tmp_path / "empty", tmp_path / "out")
    (gestures_root / "DvsGesture" / "user05_lab.aedat").unlink()
    report = preprocess("dvsgesture", gestures_root, tmp_path / "out")
    assert report.recordings == 1
    assert "lacks user05_lab.aedat, which trials_to_train.txt names" in report.problems[0]
    with pytest.raises(UsageError, match="holds the data set 'dvsgesture'"):
        load_dataset("slanimals", tmp_path / "out")
    with pytest.raises(UsageError, match="spedge preprocess dvsgesture"):
        load_dataset("dvsgesture", gestures_root)


@pytest.mark.parametrize(
    "table",
    [
        "class,start,end\n1,2\n",
        "class,start,end\n12,0,9\n",
        "class,start,end\n1,9,2\n",
        "class,start,end\nx,1,2\n",
        "class,start,end\n",
        "\n",
    ],
)
def test_a_table_that_is_none_is_named_and_the_others_are_there(
    gestures_root: Path, tmp_path: Path, table: str
) -> None:
    (gestures_root / "DvsGesture" / "user05_lab_labels.csv").write_text(table)
    report = preprocess("dvsgesture", gestures_root, tmp_path / "out")
    assert "user05_lab_labels.csv" in report.problems[0]
    assert "holds 1 recordings and not all" in str(report.summary())
    dataset = load_dataset("dvsgesture", tmp_path / "out")
    assert (len(dataset.train), len(dataset.test)) == (0, 10)
    (gestures_root / "DvsGesture" / "user24_led_labels.csv").write_text(table)
    with pytest.raises(InputError, match=r"user05_lab_labels\.csv.*user24_led_labels\.csv"):
        preprocess("dvsgesture", gestures_root, tmp_path / "out")
    with pytest.raises(UsageError, match="not finished"):
        load_dataset("dvsgesture", tmp_path / "out")


# ---------------------------------------------------------------- a folder of one's own


def own(root: Path, names: Sequence[str], width: int = 40) -> None:
    for number, name in enumerate(names):
        random = np.random.default_rng(number)
        events = np.zeros(50, spedge.EVENT_DTYPE)
        events["t"] = np.sort(random.integers(1000, 5000, 50))
        events["x"], events["y"] = random.integers(0, width, 50), random.integers(0, 30, 50)
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        spedge.recordings.write(path, events, width, 30)


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    own(tmp_path / "a", ["cat/1.raw", "cat/2.npz", "dog/1.raw"])
    assert {s.part for s in folder.find(tmp_path / "a").sources} == {"train"}
    own(tmp_path / "b", ["train/cat/1.raw", "train/dog/1.raw", "test/cat/1.raw"])
    preprocess("folder", tmp_path / "b", tmp_path / "store")
    dataset = load_dataset("folder", tmp_path / "store")
    assert (dataset.labels, dataset.width, dataset.height) == (("cat", "dog"), 40, 30)
    assert (len(dataset.train), len(dataset.test)) == (2, 1)
    assert dataset.train[0].events["t"][0] == 0


def test_parts_by_lists_of_files(tmp_path: Path) -> None:
    own(tmp_path, ["cat/1.raw", "cat/2.raw", "dog/1.raw", "dog/2.raw"])
    (tmp_path / "train.txt").write_text("cat/1.raw\ndog/1.raw\n")
    (tmp_path / "test.txt").write_text("cat/2.raw\ndog/3.raw\n")
    found = folder.find(tmp_path)
    assert {s.name: s.part for s in found.sources} == {"cat/1.raw": "train", "dog/1.raw": "train", "cat/2.raw": "test"}
    assert any("lacks dog/3.raw" in problem for problem in found.problems)
    (tmp_path / "test.txt").write_text("cat/1.raw\n")
    assert any("lists of both train and test" in problem for problem in folder.find(tmp_path).problems)


def test_one_data_set_is_of_one_sensor(tmp_path: Path) -> None:
    own(tmp_path, ["cat/1.raw"])
    own(tmp_path, ["dog/1.raw"], width=50)
    with pytest.raises(InputError, match=r"50x30 pixels and others of 40x30"):
        preprocess("folder", tmp_path, tmp_path / "out")
