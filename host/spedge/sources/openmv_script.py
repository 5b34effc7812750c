"""What runs on an OpenMV camera with a GENX320: a program in MicroPython, sent there as text.

It hands events out by a channel of the camera's USB protocol, in blocks that stay where they are until the host says
that it has them: a reply that was lost is asked for again. While too many wait, what the sensor gives is counted and
dropped, and the next block says so.

    block = "SPG1" | number u32 | events before it, dropped ones included, u32 | events in it u32 | failed reads u32 |
            of each event, u16 each: type, seconds, milliseconds, microseconds, x, y
"""

from __future__ import annotations

import struct

CHANNEL = "spedge"
MARK = b"SPG1"
HEAD = struct.Struct("<4sIIII")
WIDTH = HEIGHT = 320

SCRIPT = """\
import csi, protocol, struct
from ulab import numpy as np

CHANNEL, EVENTS, KEPT = "spedge", 2048, 4
rows = np.zeros((EVENTS, 6), dtype=np.uint16)
camera = csi.CSI(cid=csi.GENX320)
camera.reset()
camera.ioctl(csi.IOCTL_GENX320_SET_MODE, csi.GENX320_MODE_EVENT, EVENTS)
blocks = []


class Blocks:
    def size(self):
        return len(blocks[0]) if blocks else 0

    def read(self, offset, size):
        return blocks[0][offset : offset + size] if blocks else b""

    def poll(self):
        return len(blocks) > 0

    def write(self, offset, data):
        done = struct.unpack("<I", bytes(data))[0]
        while blocks and struct.unpack("<I", blocks[0][4:8])[0] <= done:
            blocks.pop(0)
        return len(data)


protocol.register(name=CHANNEL, backend=Blocks())
number = total = failed = 0
while True:
    try:
        n = camera.ioctl(csi.IOCTL_GENX320_READ_EVENTS, rows)
    except RuntimeError:
        n = -1
    if n < 0:
        failed += 1
    if n > 0:
        if len(blocks) < KEPT:
            try:
                blocks.append(struct.pack("<4sIIII", b"SPG1", number, total, n, failed) + rows[:n].tobytes())
                number += 1
            except MemoryError:
                pass
        total = (total + n) & 0xFFFFFFFF
"""
