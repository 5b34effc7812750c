"""The other end of a line of a double: a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import select
import tty

from tests.chips.usart import Usart


class Line:
    """A pseudo-terminal for a USART."""

    def __init__(self, usart: Usart) -> None:
        self.usart = usart
        self.fd, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.path = os.ttyname(self.slave)
        os.set_blocking(self.fd, False)
        usart.out = self.write

    def write(self, byte: int) -> None:
        if select.select([], [self.fd], [], 1)[1]:  # else nobody listens
            os.write(self.fd, bytes([byte]))
