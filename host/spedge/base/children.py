"""Processes that end with us, whatever ends us."""

from __future__ import annotations

import os
import shutil

_AFTER_US = '[ "$PPID" = "$0" ] && exec "$@"'  # we may have ended before the kernel knew what to do then


def guarded(command: list[str]) -> list[str]:
    """The command, to be ended by the kernel when the thread that starts it ends, where `setpriv` (util-linux) is."""
    if shutil.which("setpriv") is None:
        return command
    return ["setpriv", "--pdeathsig", "KILL", "sh", "-c", _AFTER_US, str(os.getpid()), *command]
