"""Ctrl-C at any moment: "interrupted", 130; no traceback, no other error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
