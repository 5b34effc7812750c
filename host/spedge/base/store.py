"""What is made once and kept: folders in the cache, found by the digest of everything that they were made from.

A result is never changed, and it is never found before it is whole: it is made under another name and renamed. Of
several processes that want the same one, one makes it and the others wait.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from filelock import FileLock, Timeout

from spedge.base.paths import cache_dir, unwritable

_LOCKS = 64  # to a kind, for ever: a lock that is deleted can be held by two
_LOOK_SECONDS = 0.02  # between two looks at a lock that another holds
_KEPT = 200  # of a kind; the ones used last


def stored(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder `key` among the results of a kind, which make(folder) has filled, now or before.

    key: a name that contains a digest of all that goes in. What `make` raises is raised, and leaves no result. A cache
    that cannot be written to gives what it has, and raises UsageError for the rest.
    """
    shelf = cache_dir() / kind
    folder = shelf / key
    if not folder.is_dir():
        with locked(_lock(shelf, key)):
            shelf.mkdir(exist_ok=True)
            if not folder.is_dir():
                part = shelf / f"{key}.part"  # of one that was killed, if it is there
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir()
                try:
                    make(part)
                    part.rename(folder)
                finally:
                    shutil.rmtree(part, ignore_errors=True)
                forget_the_oldest(shelf, _KEPT, lambda _: contextlib.nullcontext(True))
    with contextlib.suppress(OSError):
        os.utime(folder)
    return folder


def digest_of(paths: Iterable[Path], *words: str) -> str:
    """64 hex digits that change with any byte or name below the folders, or of the files, and with the words.

    Python's own caches are left out.
    """
    digest = hashlib.sha256()
    for word in words:
        digest.update(f"{len(word.encode())} {word}".encode())
    for root in paths:
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file() and "__pycache__" not in path.parts:
                data = path.read_bytes()
                digest.update(f"{path.relative_to(root)}\0{len(data)}\n".encode())
                digest.update(data)
        digest.update(b"\0")
    return digest.hexdigest()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that is this file, in the cache; other threads and processes that want it wait. Freed when we end.

    Raises UsageError when the cache cannot be written to.
    """
    lock = FileLock(path, poll_interval=_LOOK_SECONDS)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise unwritable(cache_dir(), error) from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """The same without waiting: whether we hold it."""
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def forget_the_oldest(shelf: Path, kept: int, free: Callable[[str], AbstractContextManager[bool]]) -> None:
    """Delete folders but for the newest. free(name): whether a folder may go, and stays so while we are in it."""
    used = []
    for path in shelf.iterdir():
        with contextlib.suppress(OSError):
            if path.is_dir():
                used.append((path.stat().st_mtime_ns, path))
    for _, path in sorted(used)[:-kept]:
        with free(path.name) as may_go:
            if may_go:
                shutil.rmtree(path, ignore_errors=True)


def _lock(shelf: Path, key: str) -> Path:
    number = int(hashlib.sha256(key.encode()).hexdigest(), 16) % _LOCKS
    return shelf.parent / "locks" / f"{shelf.name}-{number}"
