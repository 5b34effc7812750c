"""What is made once: never found half made, made by one of many processes, found again by all that it was made from."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spedge.base import store
from spedge.base.errors import UsageError
from spedge.base.store import digest_of, forget_the_oldest, locked, locked_if_free, stored

#: Makes "result" of two halves, half a second apart, and says so in a file.
MAKER = """
import sys, time
from pathlib import Path
from spedge.base.store import stored

def make(folder):
    with Path(sys.argv[1]).open("a") as made:
        made.write("made\\n")
    (folder / "result").write_text("half ")
    time.sleep(float(sys.argv[2]))
    (folder / "result").write_text("half and half")

print((stored("things", "one", make) / "result").read_text())
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPEDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def start(log: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MAKER, str(log), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_of_many_processes_one_makes_it_and_all_get_it_whole(tmp_path: Path) -> None:
    makers = [start(tmp_path / "log", 0.3) for _ in range(4)]
    assert [maker.communicate()[0] for maker in makers] == ["half and half\n"] * 4
    assert (tmp_path / "log").read_text() == "made\n"


def test_one_that_is_killed_leaves_nothing_half(tmp_path: Path, cache: Path) -> None:
    killed = start(tmp_path / "log", 60)
    while not list(cache.rglob("result")):
        assert killed.poll() is None
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (cache / "things" / "one").exists()
    assert start(tmp_path / "log", 0).communicate()[0] == "half and half\n"
    assert [path.name for path in (cache / "things").iterdir()] == ["one"]


def test_one_that_fails_leaves_nothing_and_is_tried_again(cache: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "result").write_text("half")
        raise ValueError("the disk is full")

    with pytest.raises(ValueError, match="the disk is full"):
        stored("things", "one", fail)
    assert not any((cache / "things").iterdir())
    folder = stored("things", "one", lambda folder: (folder / "result").touch())
    assert [path.name for path in folder.iterdir()] == ["result"]
    assert stored("things", "one", fail) == folder


def test_those_that_were_not_used_for_longest_are_forgotten(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(store, "_KEPT", 3)
    made: list[str] = []
    for key in ("a", "b", "c", "a", "d", "b", "a"):
        folder = stored("things", key, lambda folder: made.append(folder.name.removesuffix(".part")))
        now = time.time_ns()  # times of files are coarser than we are fast
        os.utime(folder, ns=(now, now))
    assert made == ["a", "b", "c", "d", "b"]
    assert {path.name for path in (cache / "things").iterdir()} == {"a", "b", "d"}


def test_a_lock_that_is_held_is_not_free(cache: Path) -> None:
    with locked(cache / "lock"), locked_if_free(cache / "lock") as free, locked_if_free(cache / "other") as other:
        assert (free, other) == (False, True)
    with locked_if_free(cache / "lock") as free:
        assert free


def test_what_is_in_use_is_not_forgotten(cache: Path) -> None:
    for age, name in enumerate("abcd"):
        (cache / name).mkdir(parents=True)
        os.utime(cache / name, (age, age))
    forget_the_oldest(cache, 1, lambda name: contextlib.nullcontext(name != "b"))
    assert {path.name for path in cache.iterdir()} == {"b", "d"}


def test_a_cache_that_cannot_be_written_to_gives_what_it_has(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    made = stored("things", "one", lambda folder: (folder / "result").touch())
    (tmp_path / "file").touch()
    monkeypatch.setattr(os, "open", full)
    monkeypatch.setattr(os, "utime", full)
    assert stored("things", "one", lambda _: None) == made
    says = r"cannot be written to \(.*\): set SPEDGE_CACHE to a folder that can"
    with pytest.raises(UsageError, match=says):
        stored("things", "two", lambda _: None)
    monkeypatch.setenv("SPEDGE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UsageError, match=says):
        stored("things", "one", lambda _: None)


def test_a_digest_changes_with_every_byte_name_and_word(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "in").mkdir(parents=True)
    one, two = folder / "in" / "one", folder / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    os.utime(one, (0, 0))
    seen = {digest_of([folder])}

    def changed() -> bool:
        digest = digest_of([folder])
        is_new = digest not in seen
        seen.add(digest)
        return is_new

    assert not changed()
    one.write_bytes(b"3")
    os.utime(one, (0, 0))  # as old and as large as it was
    assert changed()
    one.rename(folder / "in" / "eno")
    assert changed()
    two.write_bytes(b"")
    assert changed()
    (folder / "three").write_bytes(b"2")
    assert changed()
    (folder / "in" / "__pycache__").mkdir()
    (folder / "in" / "__pycache__" / "one.pyc").write_bytes(b"4")
    assert not changed()
    assert len({digest_of([], *words) for words in (["ab"], ["a", "b"], ["b", "a"], [""], [])}) == 5
    assert digest_of([folder, two]) != digest_of([two, folder])
