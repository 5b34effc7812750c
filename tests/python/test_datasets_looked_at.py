"""`spedge datasets NAME DIR` for every set: what is missing, packed, astray or damaged, each with what mends it."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import pytest

from spedge.base.errors import InputError
from spedge.cli import execute
from spedge.training.data import folder
from spedge.training.data.registry import MODULES, look_at
from spedge.training.preprocess import preprocess
from tests.golden_models import Case
from tests.needs import needs
from tests.python.test_preprocess import own, unpack
from tests.recording_files import aedat2, aedat3, some_events


@pytest.fixture
def gestures(tmp_path: Path) -> Path:
    """DvsGesture of two users."""
    root = tmp_path / "DvsGesture"
    root.mkdir()
    for name, part in (("user01_lab", "train"), ("user24_led", "test")):
        aedat3(root / f"{name}.aedat", some_events(400))
        (root / f"{name}_labels.csv").write_text("class,startTime_usec,endTime_usec\n1,0,9000\n")
        (root / f"trials_to_{part}.txt").write_text(f"{name}.aedat\n")
    return root


@pytest.fixture
def signs(tmp_path: Path) -> Path:
    """SL-Animals-DVS of one user."""
    root = tmp_path / "sl-animals"
    for name in ("allusers_aedat", "tags_updated_19_08_2020"):
        (root / name).mkdir(parents=True)
    aedat2(root / "allusers_aedat/user01_indoor.aedat", some_events(400))
    (root / "tags_updated_19_08_2020/user01_indoor.csv").write_text("class,startTime_ev,endTime_ev\n1,0,300\n")
    return root


def said(name: str, root: Path) -> str:
    return " ".join(look_at(name, root).problems)


@pytest.mark.parametrize("name", MODULES)
def test_no_set_is_found_where_there_is_none(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sentence each, and never a traceback: what was there, and where to get it or how it should lie."""
    code = execute(["datasets", name, str(tmp_path)])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    if name in ("gestures", "folder"):
        assert code == (2 if name == "gestures" else 1)
        assert re.search("is made here|holds no recordings", error)
    elif "is made here" not in error:
        assert code == 1
        assert re.search(r"see https?://|python -m", error), error
        assert execute(["datasets", name, str(tmp_path / "nowhere")]) == 4
        assert "There is no f" in capsys.readouterr().err


def test_gestures_that_are_whole_or_not(gestures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["datasets", "dvsgesture", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recordings"] == {"train": 1, "validation": 0, "test": 1}
    (gestures / "user24_led.aedat").write_bytes(b"")
    assert "user24_led.aedat: the file is empty" in said("dvsgesture", tmp_path)
    (gestures / "user24_led.aedat").unlink()
    assert "lacks user24_led.aedat, which trials_to_test.txt names: unpack the archive again" in said(
        "dvsgesture", tmp_path
    )
    (gestures / "trials_to_test.txt").unlink()
    assert "trials_to_test.txt is missing: unpack the archive again" in said("dvsgesture", tmp_path)
    (gestures / "user01_lab_labels.csv").write_text("class,start,end\n1,0\n")
    assert "has 2 columns and should have 3" in said("dvsgesture", tmp_path)


def test_labels_of_another_recording_are_named(gestures: Path, signs: Path, tmp_path: Path) -> None:
    needs("h5py")
    (gestures / "user24_led_labels.csv").write_text("class,start,end\n1,9000000,9500000\n")
    report = preprocess("dvsgesture", gestures, tmp_path / "a")
    assert report.recordings == 1
    assert "has a gesture from 9000000 to 9500000 µs, where user24_led.aedat has no events" in report.problems[0]
    (signs / "tags_updated_19_08_2020/user01_indoor.csv").write_text("class,first,end\n1,90000,90100\n")
    with pytest.raises(InputError, match=r"has a sign from event 90000 on, and user01_indoor\.aedat has "):
        preprocess("slanimals", signs, tmp_path / "b")


def test_signs_that_are_whole_or_not(signs: Path) -> None:
    assert said("slanimals", signs.parent) == ""
    (signs / "tags_updated_19_08_2020/user01_indoor.csv").rename(signs / "user01_indoor.csv")
    assert "user01_indoor.csv is missing: unpack the archive of tags again" in said("slanimals", signs)
    (signs / "tags_updated_19_08_2020").rmdir()
    assert "tags_updated_19_08_2020 is missing: unpack its archive there" in said("slanimals", signs)
    (signs / "packed").mkdir()
    (signs / "packed" / "allusers_aedat.rar").write_bytes(b"")
    assert "holds packed archives: unpack them there" in said("slanimals", signs / "packed")


def digits(root: Path, names: str = "0123456789") -> None:
    for part in ("Train", "Test"):
        for digit in names:
            (root / part / digit).mkdir(parents=True, exist_ok=True)
            (root / part / digit / "1.bin").write_bytes(bytes([1, 2, 0x80, 0, 7]))


def test_digits_that_are_whole_or_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "a" / "N-MNIST"
    digits(root)
    assert execute(["datasets", "nmnist", str(tmp_path / "a"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recordings"] == {"train": 10, "validation": 0, "test": 10}
    (root / "Train/3/1.bin").write_bytes(b"1234")
    assert re.search(r"Train/3/1\.bin is damaged .* lacks the digits 3 of Train", said("nmnist", root))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for file in root.rglob("*.bin"):
            archive.write(file, file.relative_to(tmp_path))
    assert "3/1.bin is damaged" in said("nmnist", tmp_path / "b.zip")
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "Train.zip").write_bytes(b"")
    assert "has no recordings of N-MNIST's Train: unpack " in said("nmnist", tmp_path / "packed")


def test_a_folder_of_ones_own_says_what_is_no_part_and_what_lies_too_deep(tmp_path: Path) -> None:
    own(tmp_path / "a", ["train/cat/1.raw", "val/cat/1.raw", "test/cat/1.raw"])
    assert f"{tmp_path / 'a/val'} is no part: rename it to one of train, validation, test" in said(
        "folder", tmp_path / "a"
    )
    own(tmp_path / "b", ["Train/cat/1.raw", "Val/cat/2.raw"])
    assert "Train holds folders and no recordings: those of a class lie right in its folder" in said(
        "folder", tmp_path / "b"
    )
    own(tmp_path / "c", ["unpacked/cat/1.raw", "dog/1.raw"])
    assert "unpacked holds folders and no recordings" in said("folder", tmp_path / "c")
    assert [source.name for source in folder.find(tmp_path / "c").sources] == ["dog/1.raw"]
    own(tmp_path / "d", ["cat/1.raw", "dog/1.raw"])
    assert said("folder", tmp_path / "d") == ""
    (tmp_path / "d/cat/1.raw").write_bytes(b"% evt 3.0\n% geometry 40x\n")
    assert "1.raw" in said("folder", tmp_path / "d")


def test_a_store_that_was_damaged_is_named_by_those_that_read_it_and_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While training, in a process that loads, and while evaluating; the command that is told mends it."""
    needs("torch", "lightning", "h5py")
    unpack(Case("preprocess-dvsgesture"), tmp_path / "DvsGesture", {})
    store = tmp_path / "store"
    assert execute(["preprocess", "dvsgesture", "--data", str(tmp_path), "--out", str(store)]) == 0
    given = ["DG-PCN-SP", "--data", str(store), "--steps", "1", "--batch", "8", "--workers"]
    assert execute(["train", *given, "0", "--run", str(tmp_path / "good")]) == 0
    file = store / "train/user05_lab.h5"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    evaluate = ["evaluate", str(tmp_path / "good"), "--data", str(store), "--split"]
    for command in (["train", *given, "1", "--run", str(tmp_path / "run")], [*evaluate, "train"]):
        capsys.readouterr()
        assert execute(command) == 4
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert f"{file} is damaged" in error
    told = re.search(r"run 'spedge (.*)' again, which makes it anew", error)
    assert told is not None
    assert execute(told[1].split()) == 0
    assert "1 made, 1 as they were" in capsys.readouterr().out
    assert execute([*evaluate, "train"]) == 0
    assert execute([*evaluate, "tset"]) == 2
    assert "There is no split 'tset'. Choose one of: unseen, all, test, validation, train" in capsys.readouterr().err
    assert execute([*evaluate, "validation"]) == 2
    assert "has no samples for the split 'validation'" in capsys.readouterr().err
