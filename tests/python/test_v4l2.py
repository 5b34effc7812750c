"""Events in V4L2's frames: cut at their end, from files and from a device that a fake of the kernel has."""

from __future__ import annotations

import errno
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spedge.base.errors import DeviceGone, DeviceRefused, InputError, UsageError
from spedge.cli import execute
from spedge.events import evt3
from spedge.sources import V4l2Camera, V4l2File, open_source, v4l2_device
from spedge.sources.v4l2 import END
from spedge.sources.v4l2_device import BUFFER, CAPABILITY, DAMAGED, REQUEST, V4l2Device, receivers
from tests.events import scattered
from tests.needs import needs

FRAME = 1 << 14
EVENTS = scattered(20_000, 2_000_000, side=320)
LENGTHS = (2000, 1, 3000, 0, 2500, 40, 3500)  # events of each frame: what is behind the end is of a longer one before


def frames_of(events: NDArray[np.void] = EVENTS, size: int = FRAME) -> list[bytes]:
    """Frames in one buffer that is never cleared. Each begins with time and row, as the sensor's do."""
    buffer, made, at, i = bytearray(b"\x34\x12" * (size // 2)), [], 0, 0
    while at < len(events):
        n = LENGTHS[i % len(LENGTHS)]
        words = evt3.Encoder().encode(events[at : at + n]) + END.to_bytes(2, "little")
        while len(words) > size:
            n //= 2
            words = evt3.Encoder().encode(events[at : at + n]) + END.to_bytes(2, "little")
        buffer[: len(words)] = words
        made.append(bytes(buffer))
        at, i = at + n, i + 1
    return made


def joined(source: V4l2Camera | V4l2File) -> NDArray[np.void]:
    return np.concatenate(list(source.packets()))


def file_of(path: Path, frames: Sequence[bytes]) -> Path:
    path.write_bytes(b"".join(frames))
    return path


def test_frames_of_a_file_are_cut_at_their_end(tmp_path: Path) -> None:
    path = file_of(tmp_path / "frames", frames_of())
    with open_source(f"v4l2:{path},frame={FRAME}") as source:
        assert isinstance(source, V4l2File)
        assert (source.width, source.height, source.live) == (320, 320, False)
        assert np.array_equal(joined(source), EVENTS)
        assert source.lost == {}


def test_a_frame_that_is_full_has_no_end_and_is_taken_whole(tmp_path: Path) -> None:
    words = evt3.Encoder().encode(EVENTS[:3000])
    path = file_of(tmp_path / "frames", [words])
    source = V4l2File(path, frame_bytes=len(words))
    assert np.array_equal(joined(source), EVENTS[:3000])
    assert source.lost == {"unended frames": 1}


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        (
            "v4l2:{file}",
            InputError,
            "49151 bytes are no frames of 1601536: is the file cut, or are they of another size",
        ),
        ("v4l2:{file},frame=16384", InputError, "49151 bytes are no frames of 16384"),
        ("v4l2:{file},frame=3", UsageError, "frame=3 is not possible: a frame is of 16-bit words"),
        ("v4l2:{file},frame=x", UsageError, "frame=x is no number"),
        ("v4l2:{file},size=3", UsageError, "there is no option 'size'"),
        ("v4l2:{file},width=0", UsageError, "a sensor of 0x320 is not possible"),
        ("v4l2:{file}.none", InputError, "No such file"),
        ("v4l2:/dev/video0,frame=16384", UsageError, "a device says how large its frames are"),
        ("v4l2:/dev/null", DeviceRefused, "/dev/null is no V4L2 device that captures"),
        ("v4l2:/dev/video99", DeviceGone, "there is no /dev/video99: is the camera plugged in"),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, text: str, error: type[Exception], says: str) -> None:
    path = tmp_path / "frames"
    path.write_bytes(b"".join(frames_of()[:3])[:-1])
    with pytest.raises(error, match=says):
        open_source(text.format(file=path))


class FakeKernel:
    """A device whose driver fills the buffers that it was given, and counts frames that it has none for."""

    def __init__(self, frames: Sequence[bytes | None], damaged: Sequence[int] = (), can: int = 0x84200001) -> None:
        """frames: None is one that is lost."""
        self._frames, self._damaged, self._can = list(frames), damaged, can
        self.buffers: list[bytearray] = []
        self.given: list[int] = []
        self.open_files = self.sequence = 0
        self.streams = False
        self.on_end: Callable[[], None] = lambda: None
        self.refuse: int | None = None  # a code

    def open(self, path: str) -> int:
        self.open_files += 1
        return 9

    def close(self, fd: int) -> None:
        self.open_files -= 1

    def map(self, fd: int, length: int, offset: int) -> Any:
        assert length == FRAME
        return self.buffers[offset // FRAME]

    def wait(self, fd: int, seconds: float) -> bool:
        while self._frames and self._frames[0] is None:
            self._frames.pop(0)
            self.sequence += 1
        if not self._frames:
            self.on_end()
        return bool(self._frames)

    def ioctl(self, fd: int, code: int, argument: bytearray) -> None:
        if code == self.refuse:
            raise OSError(errno.EBUSY, "Device or resource busy")
        calls: dict[int, Callable[[bytearray], object]] = {
            v4l2_device.QUERYCAP: self._querycap,
            v4l2_device.REQBUFS: self._reqbufs,
            v4l2_device.QUERYBUF: self._querybuf,
            v4l2_device.QBUF: lambda a: self.given.append(BUFFER.unpack(a)[0]),
            v4l2_device.DQBUF: self._dqbuf,
            v4l2_device.STREAMON: lambda a: setattr(self, "streams", True),
            v4l2_device.STREAMOFF: lambda a: setattr(self, "streams", False),
        }
        calls[code](argument)

    def _querycap(self, argument: bytearray) -> None:
        argument[:] = CAPABILITY.pack(b"rp1-cfe", b"", b"", 0, self._can | 0x80000000, self._can)

    def _reqbufs(self, argument: bytearray) -> None:
        count = min(REQUEST.unpack(argument)[0], 3)
        self.buffers = [bytearray(FRAME) for _ in range(count)]
        argument[:] = REQUEST.pack(count, 1, 1)

    def _querybuf(self, argument: bytearray) -> None:
        index = BUFFER.unpack(argument)[0]
        argument[:] = BUFFER.pack(index, 1, 0, 0, 1, 0, 0, b"", 0, 1, index * FRAME, FRAME, 0, 0)

    def _dqbuf(self, argument: bytearray) -> None:
        assert self.streams
        index, frame = self.given.pop(0), self._frames.pop(0)
        assert frame is not None
        self.buffers[index][: len(frame)] = frame
        flags = DAMAGED if self.sequence in self._damaged else 0
        argument[:] = BUFFER.pack(
            index, 1, len(frame), flags, 1, 0, 0, b"", self.sequence, 1, index * FRAME, FRAME, 0, 0
        )
        self.sequence += 1


def camera_of(kernel: FakeKernel) -> V4l2Camera:
    camera = V4l2Camera("/dev/video0", device=V4l2Device("/dev/video0", kernel))
    kernel.on_end = camera.stop
    return camera


def test_frames_of_a_device_are_cut_at_their_end() -> None:
    kernel = FakeKernel(frames_of())
    with camera_of(kernel) as camera:
        assert np.array_equal(joined(camera), EVENTS)
        assert camera.lost == {} and camera.live
        assert len(kernel.given) == 3  # each buffer was given back
    assert not kernel.streams and kernel.open_files == 0


def test_lost_and_damaged_frames_are_counted_and_make_no_event() -> None:
    frames: list[bytes | None] = list(frames_of())
    whole = [V4l2Camera("/dev/video0", device=V4l2Device("/dev/video0", FakeKernel([f]))) for f in frames if f]
    sizes = []
    for camera in whole:
        sizes.append(len(next(camera.packets())))
    gone = {3, 4, 9}
    kernel = FakeKernel([None if i in gone else frame for i, frame in enumerate(frames)], damaged=[6])
    with camera_of(kernel) as camera:
        events = joined(camera)
        assert camera.lost == {"frames": 3, "damaged frames": 1}  # each of these frames begins with time and row
    ends = np.cumsum(sizes)
    kept = [EVENTS[end - n : end] for i, (n, end) in enumerate(zip(sizes, ends, strict=True)) if i not in gone | {6}]
    assert np.array_equal(events, np.concatenate(kept))


def test_events_behind_a_gap_wait_for_their_time_and_row() -> None:
    encoder = evt3.Encoder()
    words = [encoder.encode(EVENTS[i * 1000 : (i + 1) * 1000]) + END.to_bytes(2, "little") for i in range(5)]
    kernel = FakeKernel([w.ljust(FRAME, b"\0") if i != 2 else None for i, w in enumerate(words)])
    with camera_of(kernel) as camera:
        events = joined(camera)
    late = camera.lost["after a gap"]
    assert 0 < late < 1000 and camera.lost == {"frames": 1, "after a gap": late}
    assert np.array_equal(events, np.concatenate([EVENTS[:2000], EVENTS[3000 + late : 5000]]))


def test_devices_that_do_not_serve_are_told() -> None:
    with pytest.raises(DeviceRefused, match="is no V4L2 device that captures"):
        V4l2Device("/dev/video0", FakeKernel([], can=0x84200002))  # an output
    kernel = FakeKernel([])
    kernel.refuse = v4l2_device.STREAMON
    with pytest.raises(DeviceRefused, match=r"cannot be started \(Device or resource busy\): does another program use"):
        V4l2Device("/dev/video0", kernel)
    assert kernel.open_files == 0
    kernel = FakeKernel(frames_of())
    with camera_of(kernel) as camera:
        packets = camera.packets()
        next(packets)
        kernel.refuse = v4l2_device.DQBUF
        with pytest.raises(DeviceGone, match="/dev/video0 is gone"):
            list(packets)


def test_the_numbers_are_the_kernels(tmp_path: Path) -> None:
    needs("cc")
    source = tmp_path / "a.c"
    source.write_text(
        "#include <linux/videodev2.h>\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {\n"
        '#define P(x) printf("%lu\\n", (unsigned long)(x))\n'
        "P(VIDIOC_QUERYCAP); P(VIDIOC_REQBUFS); P(VIDIOC_QUERYBUF); P(VIDIOC_QBUF); P(VIDIOC_DQBUF);\n"
        "P(VIDIOC_STREAMON); P(VIDIOC_STREAMOFF); P(sizeof(struct v4l2_capability));\n"
        "P(sizeof(struct v4l2_requestbuffers)); P(sizeof(struct v4l2_buffer));\n"
        "P(offsetof(struct v4l2_buffer, sequence));\n"
        "P(offsetof(struct v4l2_buffer, m)); P(offsetof(struct v4l2_buffer, length)); P(V4L2_BUF_FLAG_ERROR);\n}\n"
    )
    made = subprocess.run(["cc", "-o", tmp_path / "a", source], capture_output=True, text=True)
    if "videodev2.h" in made.stderr or struct.calcsize("P") != 8:
        pytest.skip("this machine has no headers of a 64-bit Linux kernel")
    assert made.returncode == 0, made.stderr
    said = [int(line) for line in subprocess.run([tmp_path / "a"], capture_output=True, text=True).stdout.split()]
    codes = [
        getattr(v4l2_device, n) for n in ("QUERYCAP", "REQBUFS", "QUERYBUF", "QBUF", "DQBUF", "STREAMON", "STREAMOFF")
    ]
    sizes = [layout.size for layout in (CAPABILITY, REQUEST, BUFFER)]
    places = [struct.calcsize(start) for start in ("=IIIII4xqq16s", "=IIIII4xqq16sII", "=IIIII4xqq16sIIQ")]
    assert said == [*codes, *sizes, *places, DAMAGED]


def test_such_a_file_is_streamed_and_run_by_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = file_of(tmp_path / "frames", frames_of())
    assert execute(["stream", f"v4l2:{path},frame={FRAME}", "--out", str(tmp_path / "o.raw")]) == 0
    with open_source(str(tmp_path / "o.raw")) as recorded:
        assert np.array_equal(np.concatenate(list(recorded.packets())), EVENTS)
    assert execute(["stream", f"v4l2:{path}", "--out", str(tmp_path / "p.raw")]) == 4
    assert "are no frames of 1601536" in capsys.readouterr().err


def test_receivers_of_a_raspberry_pi_are_listed_and_webcams_are_not(tmp_path: Path) -> None:
    for node, name in (("video0", "unicam-image"), ("video2", "Integrated Webcam"), ("video4", "rp1-cfe-csi2_ch0")):
        (tmp_path / node).mkdir()
        (tmp_path / node / "name").write_text(name + "\n")
    assert receivers(tmp_path) == {"/dev/video0": "unicam-image", "/dev/video4": "rp1-cfe-csi2_ch0"}
    assert receivers(tmp_path / "none") == {}
