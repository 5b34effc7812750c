"""Ctrl-C and SIGTERM while a verb is at work: an exception, at a moment that bears one."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_AGAIN_SECONDS = 0.02
_EXTENSIONS = ("ExtensionFileLoader.create_module", "ExtensionFileLoader.exec_module")


def install() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt and SIGTERM SystemExit(143), in the main thread.

    Not while an extension module is loaded, which makes an ImportError of it ("initialization failed"), nor while an
    object is finalised, where it is swallowed: then as soon as that is over. Uses SIGALRM for that; on Windows, which
    has none, Python's own way with Ctrl-C stays.
    """
    if not hasattr(signal, "SIGALRM"):
        return
    waiting = signal.SIGINT

    def interrupted(number: int, frame: FrameType | None) -> None:
        if _is_bad_moment(frame):
            again(number)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(128 + number)

    def again(number: int) -> None:
        nonlocal waiting
        waiting = signal.Signals(number)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)

    def swallowed(what: Any) -> None:
        if issubclass(what.exc_type, KeyboardInterrupt):  # in a callback, which cannot pass it on
            again(signal.SIGINT)
        else:
            sys.__unraisablehook__(what)

    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(waiting))
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    sys.unraisablehook = swallowed


@contextmanager
def held_back() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait for the end of the block, which calls C code that calls Python: HDF5 crashes at an
    exception in there. Signals are the main thread's; in another thread there is nothing to do."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers = {number: handler for number, handler in handlers.items() if handler is not None}  # else not ours
    for number in handlers:
        signal.signal(number, lambda which, _: came.append(which))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def give_up() -> None:
    """With all work done, they end the process silently from now on. Raises KeyboardInterrupt when one still waits."""
    if not hasattr(signal, "SIGALRM"):
        return
    waits, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    for number in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    if waits:
        raise KeyboardInterrupt


def _is_bad_moment(frame: FrameType | None) -> bool:
    while frame is not None:
        code = frame.f_code
        if code.co_name == "__del__" or code.co_qualname in _EXTENSIONS:
            return True
        frame = frame.f_back
    return False
