"""Processes that end with us, whatever ends us."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any

_AFTER_US = '[ "$PPID" = "$0" ] && exec "$@"'  # we may have ended before the kernel knew what to do then

#: For subprocess.Popen: a process group of the child's own, so that the terminal's Ctrl-C and Ctrl-Z are not for it.
OWN_GROUP: dict[str, Any] = {"process_group": 0} if sys.version_info >= (3, 11) else {"start_new_session": True}


def guarded(command: list[str]) -> list[str]:
    """The command, to be ended by the kernel when the thread that starts it ends, where `setpriv` (util-linux) is."""
    if shutil.which("setpriv") is None:
        return command
    return ["setpriv", "--pdeathsig", "KILL", "sh", "-c", _AFTER_US, str(os.getpid()), *command]
