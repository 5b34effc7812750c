"""spedge stream: what a source sends, in a file."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import spedge
from spedge import cli
from spedge.base.errors import DeviceError, InputError, UsageError
from spedge.events.evt2 import encode
from spedge.jobs.capture import capture
from spedge.recordings import write
from spedge.sources import RecordingSource, Source
from tests.variants import long


class Broken(Source):
    """A camera that breaks off after its packets."""

    def __init__(self, *packets: NDArray[np.void]) -> None:
        super().__init__("broken", 34, 34, live=True)
        self._packets = packets

    def packets(self) -> Iterator[NDArray[np.void]]:
        yield from self._packets
        self._count_lost("overflows", 3)
        raise DeviceError("the camera is gone")

    def close(self) -> None: ...


@pytest.mark.parametrize("ending", [".raw", ".npz", ".hdf5", ".csv", ".dat"])
def test_what_comes_is_written_in_every_format(tmp_path: Path, ending: str) -> None:
    events = _made()
    write(tmp_path / "in.raw", events, 34, 34)
    with RecordingSource(tmp_path / "in.raw", 4.0) as source:
        done = capture(source, tmp_path / f"out{ending}")
    assert (done.events, done.first_t, done.last_t) == (len(events), int(events["t"][0]), int(events["t"][-1]))
    assert np.array_equal(spedge.open(done.path).events(), events)


GROWING = {
    "a.raw": "evt2",
    "b.raw": "evt3",
    "c.csv": None,
    "d.dat": None,
    "e.npz": None,
    "f.hdf5": None,
    "g.aedat4": None,
}
#: Records in a process for each file, and tells its number and each packet that has been taken.
_RECORD = """
import os, sys, time
from pathlib import Path
import numpy as np
import spedge
from spedge.jobs.capture import capture
from spedge.sources import Source

class Camera(Source):
    def packets(self):
        for number in range(10_000):
            events = np.zeros(700, spedge.EVENT_DTYPE)
            events["t"] = np.arange(700) + 700 * number
            events["x"] = events["t"] % 34
            yield events
            os.write(1, f"{name} {os.getpid()} {number + 1}\\n".encode())
            time.sleep(0.002)

    def close(self): ...

for name, encoding in zip(sys.argv[2::2], sys.argv[3::2]):
    if os.fork() == 0:
        capture(Camera("camera", 34, 34, live=True), Path(sys.argv[1]) / name, encoding=encoding or None)
"""


def killed(folder: Path, moments: dict[str, int]) -> dict[str, int]:
    """Records all of them and kills each after so many packets; how many events each must have, at least."""
    words = [word for name in moments for word in (name, GROWING[name] or "")]
    taken: dict[str, int] = {}
    with subprocess.Popen(
        [sys.executable, "-c", _RECORD, folder, *words], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout
        for line in program.stdout:  # until the last one has gone
            name, pid, count = line.split()
            taken[name] = 700 * int(count)
            if int(count) == moments[name]:
                os.kill(int(pid), signal.SIGKILL)
    return taken


@pytest.mark.parametrize("seed", [7, *long(*range(8, 16))])
def test_what_was_recorded_survives_a_kill_at_any_moment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    """Every packet that had been taken is there. `make test-long` has 56 moments more."""
    random = np.random.default_rng(seed)
    taken = killed(tmp_path, {name: int(random.integers(1, 60 if seed == 7 else 400)) for name in GROWING})
    left = {file.name.split(".")[0]: file for file in tmp_path.iterdir()}
    assert len(left) == len(taken) == len(GROWING)
    for name, least in taken.items():
        file = left[name.split(".")[0]]
        assert file.name in (f"{name}.part", f"{name}.raw.part")
        chunks = []
        with contextlib.suppress(InputError):  # cut in the middle of an event, behind all others
            for chunk in spedge.open(file):
                chunks.append(chunk)
        events = np.concatenate(chunks)
        assert len(events) >= least and np.array_equal(events["t"], np.arange(len(events)))
    with pytest.raises(UsageError, match=r"e.npz.raw.part is of a recording that was killed"):
        capture(Broken(_made()), tmp_path / "e.npz")
    assert left["e"].exists()
    assert cli.execute(["convert", str(left["a"]), str(tmp_path / "kept.npz")]) in (0, 4)
    assert len(spedge.open(tmp_path / "kept.npz").events()) >= taken["a.raw"]


def test_events_stay_where_the_last_step_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a full disk: what came is complete beside the file that cannot be written."""

    def full(source: Path, target: Path) -> None:
        raise UsageError(f"{target}: cannot be written: No space left on device")

    monkeypatch.setattr("spedge.jobs.capture.convert", full)
    with pytest.raises(UsageError, match=r"the events are in .*out\.npz\.raw"):
        capture(RecordingSource(_written(tmp_path)), tmp_path / "out.npz")
    assert np.array_equal(spedge.open(tmp_path / "out.npz.raw").events(), _made())
    (tmp_path / "folder.npz").mkdir()
    for name in ("folder.npz", "no/where.npz", "out.mp3"):  # said before anything is recorded
        with pytest.raises(UsageError, match=r"is a folder|there is no folder|cannot write"):
            capture(Broken(), tmp_path / name)


def _written(folder: Path) -> Path:
    write(folder / "in.raw", _made(), 34, 34)
    return folder / "in.raw"


def test_a_camera_that_breaks_off_leaves_what_had_come(tmp_path: Path) -> None:
    events = _made()
    done = capture(Broken(events[:100], events[100:]), tmp_path / "out.raw")
    assert done.problem == "the camera is gone"
    assert done.lost == {"overflows": 3}
    assert np.array_equal(spedge.open(done.path).events(), events)


def test_a_camera_without_events_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no events"):
        capture(Broken(), tmp_path / "out.raw")
    assert not list(tmp_path.iterdir())


def test_a_stream_can_be_limited_in_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "in.raw", _made(span_us=60_000_000), 34, 34)
    arguments = [
        "stream",
        str(tmp_path / "in.raw"),
        "--out",
        str(tmp_path / "o.npz"),
        "--speed",
        "20",
        "--seconds",
        "0.3",
    ]
    assert cli.execute([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert 0 < document["events"] < 3000
    assert len(spedge.open(tmp_path / "o.npz").events()) == document["events"]


def test_ctrl_c_finishes_the_file(tmp_path: Path) -> None:
    events = _made(n=10_000)
    master, slave = pty.openpty()
    tty.setraw(slave)
    out = tmp_path / "out.raw"
    sender = threading.Thread(target=_write_all, args=(master, encode(events)), daemon=True)
    command = [sys.executable, "-m", "spedge", "stream", f"serial:{os.ttyname(slave)},width=34,height=34"]
    program = subprocess.Popen([*command, "--out", str(out), "--json"], stdout=subprocess.PIPE, text=True)
    try:
        part = out.with_name("out.raw.part")
        while not part.exists() and program.poll() is None:
            time.sleep(0.02)
        sender.start()
        deadline = time.monotonic() + 10
        while part.stat().st_size < 10_000 and time.monotonic() < deadline:
            time.sleep(0.02)
        program.send_signal(signal.SIGINT)
        said, _ = program.communicate(timeout=10)
    finally:
        program.kill()
        os.close(master)
        os.close(slave)
    assert program.returncode == 0
    kept = spedge.open(out).events()
    assert len(kept) == json.loads(said)["events"] > 1000
    assert np.array_equal(kept, events[: len(kept)])


def _write_all(fd: int, data: bytes) -> None:
    with contextlib.suppress(OSError):  # the reader has enough
        while data:
            data = data[os.write(fd, data[:1024]) :]


def _made(n: int = 3000, span_us: int = 300_000) -> NDArray[np.void]:
    random = np.random.default_rng(1)
    events = np.zeros(n, spedge.EVENT_DTYPE)
    events["t"] = np.sort(random.integers(0, span_us, n)) + 5_000
    events["x"], events["y"] = random.integers(0, 34, (2, n))
    events["p"] = random.integers(0, 2, n)
    return events
