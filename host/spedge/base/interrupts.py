"""Ctrl-C and SIGTERM while a verb is at work: an exception, at a moment that bears one."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

_AGAIN_SECONDS = 0.02
_EXTENSIONS = ("ExtensionFileLoader.create_module", "ExtensionFileLoader.exec_module")


def install() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt and SIGTERM SystemExit(143), in the main thread.

    Not while an extension module is loaded, which makes an ImportError of it ("initialization failed"), nor while an
    object is finalised, where it is swallowed: then as soon as that is over. Uses SIGALRM for that.
    """
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


def give_up() -> None:
    """With all work done, they end the process silently from now on. Raises KeyboardInterrupt when one still waits."""
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
