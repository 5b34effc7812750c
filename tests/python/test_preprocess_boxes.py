"""Detection sets: boxes cleaned, recordings cut on the grid of chunks, found in all the ways that they lie there."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spedge import EVENT_DTYPE
from spedge.base.errors import InputError, UsageError
from spedge.cli import execute
from spedge.training.data import etram, gen1, onempx
from spedge.training.data.boxes import BOX_DTYPE, clean_boxes, read_boxes
from spedge.training.data.chunks import open_chunks
from spedge.training.data.registry import load_chunks, look_at
from spedge.training.preprocess import preprocess
from tests.detection_sets import box_table, write_driving
from tests.golden_models import Case, cases
from tests.needs import needs
from tests.python.test_preprocess import hash_of, unpack

needs("h5py")

MODULES = {"gen1": gen1, "etram": etram, "onempx": onempx}
CHUNK_US = 50_000


@pytest.mark.parametrize("name", cases(5, array="^train_row$"))
@pytest.mark.parametrize("split", ["train", "val"])
def test_boxes_are_cleaned_as_the_authors_clean_them(name: str, split: str, tmp_path: Path) -> None:
    case = Case(name)
    module = MODULES[name.split("-")[2]]
    assert (module.RULES.side, module.RULES.diagonal) == (case.about["side"], case.about["diagonal"])
    table = np.zeros(
        len(case["x"]), [("t", "<u8"), *((s, "<f4") for s in "xywh"), ("class_id", "u1"), ("track_id", "<u4")]
    )
    for field in ("x", "y", "w", "h", "class_id"):
        table[field] = case[field]
    table["track_id"] = np.arange(len(table))
    np.save(tmp_path / "a_bbox.npy", table)
    boxes = read_boxes(tmp_path / "a_bbox.npy", len(module.DESCRIPTION.labels), module.RULES)
    cleaned = clean_boxes(boxes, module.DESCRIPTION.sensor, module.RULES, split == "train")
    np.testing.assert_array_equal(cleaned["track"], case[f"{split}_row"])
    np.testing.assert_array_equal(np.stack([cleaned[s] for s in "xywh"], axis=1), case[f"{split}_box"])


@pytest.mark.parametrize("name", cases(6, array="^authors_boxes$"))
def test_driving_is_cut_as_it_should_be(name: str, tmp_path: Path) -> None:
    """Through files and the store; every event is in the chunk of its own time, and no label is lost."""
    case = Case(name)
    data = name.split("-")[1]
    unpack(case, tmp_path / "raw" / "train", {})
    assert preprocess(data, tmp_path / "raw", tmp_path / "store").recordings == 1
    (recording,) = load_chunks(data, tmp_path / "store").part("train")
    there = [recording[int(place)] for place in recording.places]
    rows = [
        (c.place, c.start_us, c.end_us - 1, len(c.events), int(c.events["t"][0]), int(c.events["t"][-1])) for c in there
    ]
    np.testing.assert_array_equal(rows, case["right_chunks"])
    assert [hash_of(chunk.events) for chunk in there] == [bytes(digest) for digest in case["right_hash"]]
    times, counts = np.unique(recording.boxes["t"], return_counts=True)
    np.testing.assert_array_equal(np.stack([times // CHUNK_US, times, counts], axis=1), case["right_labelled"])
    np.testing.assert_array_equal(recording.labelled, np.unique(case["right_labelled"][:, 0]))
    authors = case["authors_boxes"]
    np.testing.assert_array_equal(
        np.stack([recording.boxes[field].astype(float) for field in ("t", "x", "y", "w", "h", "label")], axis=1),
        authors[:, [0, 3, 4, 5, 6, 7]],
    )


# ---------------------------------------------------------------- recordings of our own


def some(seed: int, end_us: int, sensor: tuple[int, int], holes: tuple[int, ...] = ()) -> NDArray[Any]:
    """Events of a recording, none in the chunks `holes`."""
    random = np.random.default_rng(seed)
    events = np.zeros(600, EVENT_DTYPE)
    events["t"] = np.sort(random.integers(0, end_us, len(events)))
    events["x"], events["y"] = random.integers(0, sensor[0], len(events)), random.integers(0, sensor[1], len(events))
    events["p"] = random.integers(0, 2, len(events))
    return events[~np.isin(events["t"] // CHUNK_US, holes)]


def boxes_at(*times: int, side: float = 40.0, field: str = "ts", label: int = 0) -> NDArray[Any]:
    table = np.zeros(len(times), [(field, "<u8"), *((s, "<f4") for s in "xywh"), ("class_id", "u1")])
    table[field], table["class_id"] = times, label
    table["x"] = table["y"] = 10
    table["w"] = table["h"] = side
    return table


@pytest.fixture
def driving(tmp_path: Path) -> Path:
    """GEN1 of a recording in each part, unpacked one folder down."""
    root = tmp_path / "raw" / "detection_dataset"
    for seed, part in enumerate(("train", "val", "test")):
        write_driving(
            root / part / f"a{seed}_td.dat", some(seed, 500_000, (304, 240), (2, 3)), boxes_at(99_999, 149_999)
        )
    return tmp_path / "raw"


def test_chunks_without_events_keep_their_place_in_time(driving: Path, tmp_path: Path) -> None:
    report = preprocess("gen1", driving, tmp_path / "store")
    assert (report.recordings, report.samples, report.problems) == (3, 24, ())
    store = load_chunks("gen1", tmp_path / "store", 50)
    (recording,) = store.part("validation")
    events = some(1, 500_000, (304, 240), (2, 3))
    assert recording.places.tolist() == [0, 1, 4, 5, 6, 7, 8, 9]
    assert recording.counts.sum() == len(events)
    assert len(recording) == 10
    np.testing.assert_array_equal(recording.events(0, 10), events)
    np.testing.assert_array_equal(recording.events(1, 5), events[(events["t"] >= 50_000) & (events["t"] < 250_000)])
    empty = recording[2]
    assert (empty.place, empty.start_us, empty.end_us, len(empty.events)) == (2, 100_000, 150_000, 0)
    assert empty.boxes["t"].tolist() == [149_999]
    assert recording.boxes.dtype == BOX_DTYPE
    assert recording.labelled.tolist() == [1, 2]
    for first, end in ((0, 10), (3, 4), (2, 2), (8, 20), (-3, 2)):
        chunks = list(recording.chunks(first, end))
        assert [chunk.place for chunk in chunks] == list(range(max(first, 0), min(end, 10)))
        for chunk in chunks:
            np.testing.assert_array_equal(chunk.events, events[events["t"] // CHUNK_US == chunk.place])
    again = pickle.loads(pickle.dumps(recording))
    assert [len(chunk.events) for chunk in again] == [len(chunk.events) for chunk in recording[:]]
    assert recording[-1].place == 9
    with pytest.raises(IndexError):
        recording[10]


def test_a_label_after_the_last_event_is_kept(tmp_path: Path) -> None:
    write_driving(tmp_path / "raw/train/a_td.dat", some(0, 120_000, (304, 240)), boxes_at(149_999, 199_999))
    preprocess("gen1", tmp_path / "raw", tmp_path / "store")
    (recording,) = load_chunks("gen1", tmp_path / "store").part("train")
    assert (len(recording), recording.labelled.tolist()) == (4, [2, 3])
    assert [len(chunk.boxes) for chunk in recording] == [0, 0, 1, 1]


def test_a_recording_without_labels_or_events_is_one(tmp_path: Path) -> None:
    write_driving(tmp_path / "raw/train/a_td.dat", some(0, 120_000, (304, 240)), boxes_at())
    write_driving(tmp_path / "raw/train/b_td.dat", some(0, 120_000, (304, 240))[:0], boxes_at())
    preprocess("gen1", tmp_path / "raw", tmp_path / "store")
    a, b = load_chunks("gen1", tmp_path / "store").part("train")
    assert (len(a), len(a.boxes), len(b)) == (3, 0, 0)
    assert list(b) == []


def test_the_megapixel_sets_are_read_by_their_own_rules(tmp_path: Path) -> None:
    """1Mpx leaves out classes, eTraM has none to leave out; its parts are told by names, too."""
    table = np.concatenate([boxes_at(70_000, field="t", side=90, label=k) for k in (0, 2, 3, 6)])
    events = some(0, 200_000, (1280, 720))
    write_driving(tmp_path / "1mpx/train/moorea_td.dat", events, table)
    assert preprocess("1mpx", tmp_path / "1mpx", tmp_path / "a").recordings == 1
    (recording,) = load_chunks("1mpx", tmp_path / "a").part("train")
    assert recording.boxes["label"].tolist() == [0, 2]
    np.testing.assert_array_equal(recording.events(0, 4), events)
    for folder in ("Static/HDF5", "Static/HDF5/train_h5_1", "train"):
        name = "a_td.h5" if folder == "train" else "train_day_1_td.h5"
        write_driving(tmp_path / "etram" / folder / name, events, boxes_at(70_000, field="t", side=90))
        assert {source.part for source in etram.find(tmp_path / "etram").sources} == {"train"}
    assert preprocess("etram", tmp_path / "etram", tmp_path / "b").recordings == 3
    write_driving(tmp_path / "etram/test/b_td.h5", events, table)
    report = preprocess("etram", tmp_path / "etram", tmp_path / "b")
    assert report.kept == 3
    assert any("b_bbox.npy has a box of class 6 and the data set has classes 0 to 2" in p for p in report.problems)


def test_the_length_of_chunks_is_part_of_what_made_them(driving: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "store"
    preprocess("gen1", driving, out)
    with pytest.raises(UsageError, match=r"chunks of 50 ms and 20 ms are asked for: run '(.*)', which") as told:
        load_chunks("gen1", out, 20)
    command = str(told.value).split("'")[1]
    assert execute(command.split()[1:]) == 0
    assert "3 made, 0 as they were" in capsys.readouterr().out
    (recording,) = load_chunks("gen1", out, 20).part("train")
    assert (len(recording), recording[3].end_us) == (25, 80_000)
    assert preprocess("gen1", driving, out, chunk_ms=20).kept == 3
    with pytest.raises(UsageError, match="give 1 to 60000"):
        preprocess("gen1", driving, out, chunk_ms=0)


def test_the_training_part_has_boxes_of_its_own(driving: Path, tmp_path: Path) -> None:
    """A recording that moves to another part is cleaned anew."""
    wide = boxes_at(99_999, side=100)
    wide["w"], wide["x"] = 290, 0
    write_driving(driving / "detection_dataset/train/a0_td.dat", some(0, 500_000, (304, 240)), wide)
    preprocess("gen1", driving, tmp_path / "store")
    assert len(load_chunks("gen1", tmp_path / "store").part("train")[0].boxes) == 0
    for file in (driving / "detection_dataset/train").iterdir():
        file.rename(file.parents[1] / "val" / file.name)
    preprocess("gen1", driving, tmp_path / "store")
    assert [len(r.boxes) for r in load_chunks("gen1", tmp_path / "store").part("validation")] == [1, 2]


# ---------------------------------------------------------------- what is missing or wrong


def said(name: str, folder: Path) -> str:
    return " ".join(look_at(name, folder).problems)


def test_what_is_missing_or_astray_is_said_with_what_mends_it(driving: Path, tmp_path: Path) -> None:
    root = driving / "detection_dataset"
    assert said("gen1", driving) == said("gen1", root) == ""
    assert f"{root / 'val'} is only one part of GEN1" in said("gen1", root / "val")
    (root / "test/a2_bbox.npy").rename(root / "test/a3_bbox.npy")
    assert "a2_td.dat has no a2_bbox.npy beside it" in said("gen1", root)
    assert "a3_bbox.npy has no recording beside it" in said("gen1", root)
    (root / "test/a3_bbox.npy").rename(root / "test/a2_bbox.npy")
    (root / "val").rename(root / "validation")
    assert f"{root / 'validation'} is no part of GEN1 (de Tournemire et al. 2020): rename it to one of train, val" in (
        said("gen1", root)
    )
    (root / "validation").rename(root / "val")
    (root / "test/a2_td.dat").write_bytes(b"")
    (root / "train/a0_bbox.npy").write_bytes((root / "train/a0_bbox.npy").read_bytes()[:90])
    assert "a2_td.dat: the file is empty" in said("gen1", root)
    assert "a0_bbox.npy is no table of boxes" in said("gen1", root)
    for file in (root / "test").iterdir():
        file.unlink()
    assert "lacks recordings of test: unpack their archives there" in said("gen1", root)
    (root / "test.7z").write_bytes(b"")
    assert "lacks test and holds packed archives (test.7z): unpack them there" in said("gen1", root)
    (tmp_path / "empty").mkdir()
    assert "holds no GEN1" in said("gen1", tmp_path / "empty")
    assert execute(["datasets", "gen1", str(tmp_path / "empty")]) == 1
    with pytest.raises(InputError, match="no folder"):
        look_at("gen1", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (boxes_at(900_000), "they do not belong together"),
        (boxes_at(99_999, label=2), "has a box of class 2 and the data set has classes 0 to 1"),
        (boxes_at(99_999, side=np.nan), "no numbers"),
        (boxes_at(99_999, field="when"), "has no field 't'"),
        (np.zeros((3, 8)), "no table of boxes"),
        (np.zeros(3, "O"), "no table of boxes"),
    ],
    ids=["late", "class", "nan", "field", "numbers", "objects"],
)
def test_labels_that_do_not_fit_are_named(driving: Path, tmp_path: Path, table: Any, says: str) -> None:
    np.save(driving / "detection_dataset/val/a1_bbox.npy", table, allow_pickle=True)
    report = preprocess("gen1", driving, tmp_path / "store")
    assert report.recordings == 2
    assert "a1_bbox.npy" in report.problems[0]
    assert says in report.problems[0]


def test_a_recording_that_is_cut_is_left_out_and_the_others_are_kept(
    driving: Path, tmp_path: Path, capsys: Any
) -> None:
    path = driving / "detection_dataset/val/a1_td.dat"
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    arguments = ["preprocess", "gen1", "--data", str(driving), "--out", str(tmp_path / "store")]
    assert execute(arguments) == 4
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "holds 2 recordings and not all" in error
    assert "a1_td.dat: cut off in the middle of an event" in error
    store = open_chunks(tmp_path / "store", "gen1")
    assert {part: len(store.part(part)) for part in ("train", "validation", "test")} == {
        "train": 1, "validation": 0, "test": 1,
    }  # fmt: skip
    path.write_bytes(whole)
    assert execute([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 2


def test_a_set_of_boxes_is_no_set_of_classes(driving: Path, tmp_path: Path) -> None:
    preprocess("gen1", driving, tmp_path / "store")
    with pytest.raises(UsageError, match=r"The data set 'dvsgesture' has no boxes. Choose one of: gen1, 1mpx, etram"):
        load_chunks("dvsgesture", tmp_path / "store")
    with pytest.raises(UsageError, match=r"There is no part 'val'. Choose one of: train, validation, test"):
        load_chunks("gen1", tmp_path / "store").part("val")


def test_boxes_that_stand_in_a_file_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As in some of GEN1's files: counted by info, and dropped where that is asked for; of other tracks, too."""
    table = box_table(6)
    table["ts"] = [99_999, 99_999, 99_999, 99_999, 149_999, 149_999]
    table["x"], table["y"], table["w"], table["h"] = [10, 10, 10, 60, 10, 10], 20, 40, 40
    table["class_id"], table["track_id"] = [0, 0, 1, 0, 0, 0], [1, 2, 3, 4, 1, 1]
    for part in ("train", "val", "test"):
        write_driving(tmp_path / f"raw/{part}/{part}_td.dat", some(0, 500_000, (304, 240)), table)
    assert execute(["info", str(tmp_path / "raw/train/train_bbox.npy"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["boxes"], told["times"], told["tracks"], told["duplicates"]) == (6, 2, 4, 2)
    assert (told["per_class"], told["first_us"], told["last_us"]) == ({"0": 5, "1": 1}, 99_999, 149_999)
    assert execute(["info", str(tmp_path / "raw/train/train_bbox.npy")]) == 0
    assert "duplicates" in capsys.readouterr().out
    given = ["preprocess", "gen1", "--data", str(tmp_path / "raw"), "--out", str(tmp_path / "store")]
    for options, tracks in (([], [1, 2, 3, 4, 1, 1]), (["--drop-duplicates"], [1, 3, 4, 1])):
        assert execute([*given, *options, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["made"] == 3  # never what was made in the other way
        store = load_chunks("gen1", tmp_path / "store")
        assert store.part("train")[0].boxes["track"].tolist() == tracks
        assert ("--drop-duplicates" in store.command) == bool(options)
    with pytest.raises(UsageError, match="--chunk-duration-ms 20 --drop-duplicates"):
        load_chunks("gen1", tmp_path / "store", 20)
    (tmp_path / "none_bbox.npy").write_bytes(b"no boxes")
    assert execute(["info", str(tmp_path / "none_bbox.npy")]) == 4
    assert "is no table of boxes" in capsys.readouterr().err
