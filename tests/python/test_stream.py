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
from spedge.base.errors import DeviceError, InputError
from spedge.events.evt2 import encode
from spedge.jobs.capture import capture
from spedge.recordings import write
from spedge.sources import RecordingSource, Source


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
