"""ROS bags of both kinds: written by the library rosbags, its own serialization, and read as what went in."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rosbags")

from rosbags import rosbag2

import spedge
from spedge.events.words import encoder
from spedge.recordings import ros_cut
from tests.recording_files import Event, some_events
from tests.ros_bags import HEIGHT, KINDS, UNIX, WIDTH, Bag

EVENTS = some_events(900)[:900]


@pytest.fixture(params=KINDS)
def bag(request: pytest.FixtureRequest, tmp_path: Path) -> Bag:
    ros, options = KINDS[request.param]
    return Bag(tmp_path / ("a.bag" if ros == 1 else "recorded"), ros, **options)


def later(events: Sequence[Event], by: int = UNIX * 10**6) -> list[Event]:
    return [(t + by, x, y, p) for t, x, y, p in events]


@pytest.mark.parametrize("package", ["dvs_msgs", "prophesee_event_msgs"])
def test_arrays_of_events(package: str, bag: Bag) -> None:
    bag.other()
    for start in range(0, 900, 300):
        bag.array(EVENTS[start : start + 300], package=package)
    bag.array([], package=package)
    recording = spedge.open(bag.close())
    assert (recording.width, recording.height) == (WIDTH, HEIGHT)
    assert recording.events().tolist() == later(EVENTS)
    assert recording.format == f"ROS {bag.ros} {package}/EventArray"
    assert recording.layout == "topic /dvs/events"
    assert recording.left_out == {}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_arrays_of_few_events(count: int, bag: Bag) -> None:
    bag.array(EVENTS[:count])
    bag.array(EVENTS[count : 2 * count])
    assert spedge.open(bag.close()).events().tolist() == later(EVENTS[: 2 * count])


def test_the_files_of_a_folder_are_bags_too(tmp_path: Path) -> None:
    for kind, ending in (("ROS 2, sqlite", ".db3"), ("ROS 2, mcap", ".mcap")):
        bag = Bag(tmp_path / ending[1:], 2, **KINDS[kind][1])
        bag.array(EVENTS)
        (file,) = bag.close().glob(f"*{ending}")
        assert spedge.open(file).events().tolist() == later(EVENTS)


def words(encoding: str) -> tuple[list[bytes], list[Event]]:
    """Three packets that do not end where words do."""
    array = np.array(EVENTS, [("t", "u8"), ("x", "u2"), ("y", "u2"), ("p", "u1")])
    data = encoder(encoding)(array)
    third = len(data) // 3 | 1
    return [data[:third], data[third : 2 * third], data[2 * third :]], EVENTS


@pytest.mark.parametrize("encoding", ["evt3", "evt2"])
def test_packets_of_a_cameras_words(encoding: str, bag: Bag) -> None:
    for number, data in enumerate(words(encoding)[0]):
        bag.packet(data, encoding, number + 40)
    recording = spedge.open(bag.close())
    assert recording.events().tolist() == EVENTS
    assert recording.layout == f"topic /event_camera/events, packets of {encoding}"
    assert recording.outside == ("drop" if encoding == "evt3" else "refuse")
    assert recording.left_out == {}


def test_packets_of_mono_and_libcaer(tmp_path: Path) -> None:
    few = [event for event in EVENTS if event[0] < 4_000_000]  # 32 bits of ns
    base, array = 77 * 10**9, np.array(few, np.uint64)
    t, x, y, p = array.T
    mono = (p << np.uint64(63) | y << np.uint64(48) | x << np.uint64(32) | t * np.uint64(1000)).astype("<u8")
    caer = np.stack([x << np.uint64(17) | y << np.uint64(2) | p << np.uint64(1) | np.uint64(1), t], axis=1).astype(
        "<u4"
    )
    caer[3, 0] ^= 1
    for ros in (1, 2):
        bag = Bag(tmp_path / f"mono{ros}{'.bag' * (ros == 1)}", ros)
        bag.packet(mono.tobytes(), "mono", 0, time_base=base, kind="event_array_msgs/msg/EventArray")
        assert spedge.open(bag.close()).events().tolist() == later(few, 77_000_000)
        bag = Bag(tmp_path / f"caer{ros}{'.bag' * (ros == 1)}", ros)
        bag.packet(caer.tobytes(), "libcaer", 0, time_base=base)
        recording = spedge.open(bag.close())
        assert recording.events().tolist() == later(few[:3] + few[4:], 77_000_000)
        assert recording.left_out == {"invalid": 1}


def test_libcaers_times_wrap_inside_a_packet(tmp_path: Path) -> None:
    bag = Bag(tmp_path / "a.bag", 1)
    stamps = [(1 << 31) - 2, (1 << 31) - 1, 0, 5]
    data = np.array([[5 << 17 | 6 << 2 | 3, stamp] for stamp in stamps], "<u4")
    bag.packet(data.tobytes(), "libcaer", 0)
    found = spedge.open(bag.close()).events()["t"].tolist()
    assert found == [(1 << 31) - 2, (1 << 31) - 1, 1 << 31, (1 << 31) + 5]


def test_packets_that_are_missing_are_counted(bag: Bag) -> None:
    first, _, last = words("evt2")[0]
    bag.packet(first[: len(first) // 4 * 4], "evt2", 3)
    bag.packet(last[len(last) % 4 :], "evt2", 6)
    recording = spedge.open(bag.close())
    assert 0 < len(recording.events()) < len(EVENTS)
    assert recording.left_out["lost packets"] == 2


def test_two_cameras_are_named_and_never_merged(bag: Bag) -> None:
    bag.array(EVENTS[:20], "/left/events")
    bag.array(EVENTS[:30], "/right/events")
    path = bag.close()
    with pytest.raises(spedge.InputError, match=r"/left/events.* say which, stream='/left/events'"):
        spedge.open(path)
    assert spedge.open(path, stream="/left/events").events().tolist() == later(EVENTS[:20])
    assert spedge.open(path, stream="right").events().tolist() == later(EVENTS[:30])


def test_bags_without_events(bag: Bag) -> None:
    bag.other()
    with pytest.raises(spedge.InputError, match=r"no topic is of dvs_msgs.*there are /about \(std_msgs/msg/String\)"):
        spedge.open(bag.close())


def refused(match: str, bag: Bag) -> None:
    with pytest.raises(spedge.InputError, match=match):
        spedge.open(bag.close()).events()


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    bags = iter(Bag(tmp_path / f"{i}.bag", 1) for i in range(9))
    for said, match in (
        ({"encoding": "libcaer_cmp"}, "packets of encoding 'libcaer_cmp' cannot be read, only evt2, evt3"),
        ({"encoding": "evt3", "is_bigendian": True}, "big-endian"),
    ):
        bag = next(bags)
        bag.packet(b"12345678", number=0, **said)  # type: ignore[arg-type]
        refused(match, bag)
    bag = next(bags)
    bag.array(EVENTS[:5])
    bag.array(EVENTS[5:9], width=64)
    with pytest.raises(spedge.InputError, match="message 1 of /dvs/events: it is of 64x96 pixels, unlike"):
        spedge.open(bag.close()).events()
    bag = next(bags)
    bag.packet(b"1234567", "mono", 0)
    refused("its 7 bytes of events are not 8 each", bag)
    bag = next(bags)
    bag.array([(10, 500, 2, 1)])
    path = bag.close()
    with pytest.raises(spedge.InputError, match="outside the 128x96 sensor"):
        spedge.open(path).events()
    assert len(spedge.open(path, outside="drop").events()) == 0
    with pytest.raises(spedge.UsageError, match="leave time_unit"):
        spedge.open(path, time_unit="s")


def test_a_size_of_0_is_asked_for(bag: Bag) -> None:
    bag.array(EVENTS[:9], width=0, height=0)
    path = bag.close()
    with pytest.raises(spedge.InputError, match="pass width and height"):
        spedge.open(path)
    assert spedge.open(path, width=WIDTH, height=HEIGHT).events().tolist() == later(EVENTS[:9])


def cut(path: Path, share: float) -> Path:
    """The bag, or the storage in its folder, up to there; a folder without the list of its contents."""
    files = ros_cut.storages(path)
    (path / "metadata.yaml").unlink(missing_ok=True) if path.is_dir() else None
    data = files[-1].read_bytes()
    files[-1].write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
def test_what_is_before_a_cut_is_handed_out(share: float, bag: Bag) -> None:
    rng = np.random.default_rng(5)
    many = [(i, int(x), int(y), int(p)) for i, (x, y, p) in enumerate(rng.integers(0, (WIDTH, HEIGHT, 2), (4000, 3)))]
    for start in range(0, 4000, 40):
        bag.array(many[start : start + 40])
    path = cut(bag.close(), share)
    events: list[Event] = []
    with pytest.raises(spedge.InputError) as told:
        for chunk in spedge.open(path):
            events += chunk.tolist()
    assert events == later(many[: len(events)])
    if bag.ros == 1 or "mcap" in str(ros_cut.storages(path)):
        assert isinstance(told.value, spedge.base.errors.CutError)
        assert len(events) > 4000 * share * 0.6
    assert str(path) in str(told.value)


def test_a_bag_that_was_not_closed_is_read_and_said_to_be_cut(tmp_path: Path) -> None:
    bag = Bag(tmp_path / "a", 2, storage_plugin=rosbag2.StoragePlugin.MCAP)
    bag.array(EVENTS)
    path = bag.close()
    (path / "metadata.yaml").unlink()
    with pytest.raises(spedge.InputError, match="not finished when it was recorded"):
        spedge.open(path).events()
    assert sum(map(len, _until_error(path))) == len(EVENTS)


def _until_error(path: Path) -> list[Any]:
    chunks = []
    try:
        for chunk in spedge.open(path):
            chunks.append(chunk)
    except spedge.InputError:
        pass
    return chunks


def test_flips_anywhere_end_in_one_sentence(bag: Bag) -> None:
    """Of any byte: nothing but InputError, and only whole messages' events before it."""
    for start in range(0, 60, 20):
        bag.array(EVENTS[start : start + 20])
    bag.packet(words("evt3")[0][0][:90], "evt3", 0)
    path = bag.close()
    file = ros_cut.storages(path)[-1]
    data, rng = file.read_bytes(), np.random.default_rng(1)
    for _ in range(8):
        broken = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            broken[at] ^= 1 << int(rng.integers(8))
        file.write_bytes(broken)
        for camera in ("/dvs/events", "/event_camera/events"):
            try:
                recording = spedge.open(path, stream=camera, outside="drop", sort=True)
                for _ in recording:
                    pass
            except spedge.InputError as error:
                assert str(path) in str(error)
                assert "\n" not in str(error)


def test_nothing_behind_a_damaged_chunk_is_handed_out(bag: Bag) -> None:
    """A bag without an end whose middle is damaged, too: its events stop there and do not go on behind the gap."""
    for start in range(0, 900, 20):
        bag.array(EVENTS[start : start + 20])
    path = cut(bag.close(), 0.9)
    file = ros_cut.storages(path)[-1]
    data = bytearray(file.read_bytes())
    middle = (4096 + len(data)) // 2  # a header takes 4096 bytes
    data[middle : middle + 400] = bytes(400)
    file.write_bytes(data)
    events = [event for chunk in _until_error(path) for event in chunk.tolist()]
    assert events == later(EVENTS[: len(events)])
    if bag.ros == 1:
        assert len(events) > 100


def test_what_the_index_loses_is_found_in_the_file(tmp_path: Path) -> None:
    """Messages that the library cannot find any more, since the index behind their chunk is damaged."""
    bag = Bag(tmp_path / "a.bag", 1)
    for start in range(0, 900, 20):
        bag.array(EVENTS[start : start + 20])
    path = bag.close()
    data = bytearray(path.read_bytes())
    index = data.rindex((47).to_bytes(4, "little"), 0, data.rindex(b"op=\x04"))  # of the last chunk
    count = int.from_bytes(data[index + 51 : index + 55], "little") // 12
    data[index + 55 + 12 * (count - 1) + 10] ^= 0x40  # where the last message of it is
    path.write_bytes(data)
    assert [event for chunk in _until_error(path) for event in chunk.tolist()] == later(EVENTS)
    with pytest.raises(spedge.InputError):
        spedge.open(path).events()


def test_without_the_library_it_is_named(monkeypatch: pytest.MonkeyPatch, bag: Bag) -> None:
    bag.array(EVENTS)
    path = bag.close()
    import builtins

    real: Callable[..., Any] = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("rosbags"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(spedge.UsageError, match=r"pip install 'spedge\[ros\]'"):
        spedge.open(path)


def test_info_and_convert_take_folders(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from spedge.cli import app

    bag = Bag(tmp_path / "two words", 2, storage_plugin=rosbag2.StoragePlugin.MCAP)
    bag.array(EVENTS)
    path = bag.close()
    result = CliRunner().invoke(app, ["info", str(path)])
    assert result.exit_code == 0, result.output
    assert "dvs_msgs/EventArray" in result.output
    result = CliRunner().invoke(app, ["convert", str(path), str(tmp_path / "a.npz")])
    assert result.exit_code == 0, result.output
    assert spedge.open(tmp_path / "a.npz").events().tolist() == later(EVENTS)
    shutil.rmtree(path)
