import contextlib
import ctypes
import signal

import SCons.Script

with contextlib.suppress(AttributeError):  # Linux only
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
SCons.Script.main()
