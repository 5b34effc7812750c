"""Ctrl-C at any moment: "interrupted", 130; no traceback, no other error."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from spedge.model.bundle import Bundle
from spedge.recordings import write
from tests.ends import marked, wait_for
from tests.events import scattered
from tests.needs import needs

SAID = "spedge: error: interrupted\n"
#: The program, which gets Ctrl-C at its Nth import.
STRUCK = """
import os, signal, sys
from spedge.program import main
left = int(sys.argv.pop(1))
def strike(event, _):
    global left
    if event == "import":
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(strike)
main()
"""


def struck(at: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", STRUCK, str(at), *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("at", [1, 40, 110, 200])
def test_while_starting(at: int) -> None:
    done = struck(at, "check", "--help")
    assert (done.returncode, done.stderr, done.stdout) == (130, SAID, "")


@pytest.mark.parametrize("at", [260, 330, 420, 520])
def test_while_a_verb_loads_what_it_needs(at: int, repository: Path) -> None:
    done = struck(at, "info", str(repository / "host/spedge/assets/recordings/clap.raw"))
    assert (done.returncode, done.stderr) in ((130, SAID), (0, ""))  # 0: it has fewer imports
    assert done.returncode == 130 or at > 400


#: The program, with an image that is built already if there is one, which gets Ctrl-C a while after the Nth time that
#: something happens with a name that ends so.
AT = """
import os, signal, sys, threading
from spedge.program import main
image, event, ending, nth, delay = [sys.argv.pop(1) for _ in range(5)]
left = int(nth)
def strike(what, arguments):
    global left
    if what == event and arguments and named(arguments[0]).endswith(ending):
        left -= 1
        if left == 0 and float(delay):
            threading.Timer(float(delay), os.kill, (os.getpid(), signal.SIGINT)).start()
        elif left == 0:
            os.kill(os.getpid(), signal.SIGINT)
def named(what):
    return what if isinstance(what, str) else getattr(what, "__fspath__", lambda: "")()
if image:
    import pathlib, types
    import spedge.boards.build
    spedge.boards.build.build = lambda *_: types.SimpleNamespace(path=pathlib.Path(image))
sys.addaudithook(strike)
main()
"""


@dataclass(frozen=True)
class Moment:
    """What happens with a name that ends so, the Nth time, and seconds after that."""

    event: str
    ending: str = ""
    nth: int = 1
    delay: float = 0.0


def interrupted(moment: Moment, *arguments: object, image: object = "", cache: object = "") -> None:
    """Ends as it should: said, by exit code, soon, and with all processes of its making."""
    mark = f"SPEDGE_TEST_MARK={uuid.uuid4()}"
    name, _, value = mark.partition("=")
    environment = {**os.environ, name: value} | ({"SPEDGE_CACHE": str(cache)} if cache else {})
    at = (image, moment.event, moment.ending, moment.nth, moment.delay)
    command = [sys.executable, "-c", AT, *map(str, (*at, *arguments))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert (done.returncode, done.stderr, done.stdout) == (130, SAID, "")
    wait_for(lambda: not marked(mark), 5)


BUILD = [
    Moment("subprocess.Popen"),  # asks a compiler for its version
    Moment("subprocess.Popen", nth=3),  # PlatformIO, or what it is guarded by
    Moment("subprocess.Popen", nth=3, delay=1.0),  # while it compiles
    Moment("open", ending=".log", delay=0.3),
]


@pytest.mark.parametrize("moment", BUILD, ids=str)
def test_while_firmware_is_built(moment: Moment, tmp_path: Path) -> None:
    needs("platformio", "cc")
    interrupted(moment, "build" if moment.delay else "flash", "--board", "sim", cache=tmp_path / "cache")
    assert not list((tmp_path / "cache" / "images").glob("sim*"))


DEVICE = [
    Moment("subprocess.Popen"),
    Moment("subprocess.Popen", delay=0.03),
    Moment("subprocess.Popen", delay=0.15),
    Moment("import", "onnxruntime_pybind11_state"),
]


@pytest.mark.parametrize("moment", DEVICE, ids=str)
def test_while_a_device_is_at_work(moment: Moment, tmp_path: Path, bundle: Bundle, image: Path) -> None:
    write(tmp_path / "long.raw", scattered(2_000_000, 200_000_000), 34, 34)
    interrupted(moment, "check", bundle.path, tmp_path / "long.raw", "--board", "sim", image=image)


@pytest.mark.parametrize("moment", [Moment("import", "tvm.relax"), Moment("open", "kernels.c")], ids=str)
def test_while_a_model_is_compiled(moment: Moment, tmp_path: Path, bundle: Bundle) -> None:
    needs("tvm")
    out = tmp_path / "out"
    interrupted(moment, "compile", bundle.file("encoder.onnx"), "--target", "native", "--out", out)
    assert not out.exists() or not (out / "report.json").exists()


@pytest.mark.parametrize("moment", [Moment("import", "torch._C"), Moment("open", "00001.bin", delay=0.01)], ids=str)
def test_while_training_has_not_begun(moment: Moment, tmp_path: Path) -> None:
    """After the first step it would keep what was learned: tests/python/test_training.py."""
    needs("torch")
    for label in range(10):
        (tmp_path / "data" / str(label)).mkdir(parents=True)
        for number in range(12):
            (tmp_path / "data" / str(label) / f"{number:05d}.bin").write_bytes(bytes([1, 2, 128, 0, 9] * 400))
    interrupted(moment, "train", "--preset", "nmnist-pico", "--data", tmp_path / "data", "--out", tmp_path / "out")
    assert not (tmp_path / "out" / "checkpoint.pt").exists()


@pytest.mark.parametrize("verb", ["convert", "tokenize"])
def test_while_a_file_is_written(verb: str, tmp_path: Path) -> None:
    write(tmp_path / "a.raw", scattered(50_000, 5_000_000), 34, 34)
    out = ["--out", tmp_path / "out.npz"] if verb == "tokenize" else [tmp_path / "out.npz"]
    for moment in (Moment("open", "a.raw", nth=2), Moment("open", ".npz.part", delay=0.001), Moment("os.rename")):
        interrupted(moment, verb, tmp_path / "a.raw", *out)
        assert [path.name for path in tmp_path.iterdir()] == ["a.raw"]


MOMENTS = """
import gc, os, signal, time, weakref
from spedge.base import interrupts
from tests.needs import needs
def strike():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0)
done = []
class Loader:  # as importlib's of extension modules
    def exec_module(self):
        strike(); done.append(1)
Loader.exec_module.__code__ = Loader.exec_module.__code__.replace(co_qualname="ExtensionFileLoader.exec_module")
class Dying:
    def __del__(self):
        strike(); done.append(1)
class Thing: pass
def in_del():
    Dying()
def in_callback():
    thing = Thing()
    reference = weakref.ref(thing, lambda _: (done.append(1), strike()))
    del thing
interrupts.install()
try:
    {what}()
    time.sleep(5)
except KeyboardInterrupt:
    print("interrupted", len(done))
"""


@pytest.mark.parametrize("what", ["Loader().exec_module", "in_del", "in_callback"])
def test_moments_that_cannot_bear_it(what: str) -> None:
    program = MOMENTS.format(what=what)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("interrupted 1\n", "")


#: Ctrl-C inside each call that HDF5 makes to write, in a program that has said nothing of signals.
IN_HDF5 = """
import os, signal
from pathlib import Path
from spedge.recordings import write
from spedge.recordings.hdf5_sink import Sink
from spedge.training.data import store
from tests.events import scattered
calls = []
def strike(self, data, write=Sink.write):
    calls.append(len(data))
    os.kill(os.getpid(), signal.SIGINT)
    return write(self, data)
Sink.write = strike
events = scattered(5_000, 5_000_000)
place = store.Place(Path({folder!r}), "a.h5", "a", "train", "key")
columns = {{name: events[name] for name in "txyp"}}
try:
    {what}
except KeyboardInterrupt:
    print("interrupted", len(calls) > 3)
"""


@pytest.mark.parametrize(
    "what",
    ["write(place.root / 'a.h5', events, 34, 34)", "store.write_file(place, columns, {})"],
    ids=["convert", "store"],
)
def test_hdf5_does_not_crash_in_what_it_calls(what: str, tmp_path: Path) -> None:
    needs("h5py")
    program = IN_HDF5.format(folder=str(tmp_path), what=what)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted True\n", "")
    assert list(tmp_path.iterdir()) == []
