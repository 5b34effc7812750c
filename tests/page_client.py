"""A page without a browser: asks as page.js does, over a socket of its own."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Request, TextMessage


class Refused(Exception):
    """The server let nobody in."""


class Page:
    """Connected to the server at `address`. origin, host: what a browser would say of the page that asks."""

    def __init__(self, address: str, origin: str | None = "", host: str | None = None) -> None:
        url = urlsplit(address)
        self._socket = socket.create_connection((url.hostname or "", url.port or 0), timeout=20)
        self._connection = WSConnection(ConnectionType.CLIENT)
        origin = f"http://{url.netloc}" if origin == "" else origin
        headers = [] if origin is None else [(b"Origin", origin.encode())]
        self._send(Request(host=host or url.netloc, target=url.path + "asks", extra_headers=headers))
        first = self._event()
        if not isinstance(first, AcceptConnection):
            self._socket.close()
            raise Refused(first)

    def _send(self, event: Any) -> None:
        self._socket.sendall(self._connection.send(event))

    def _event(self) -> Any:
        while True:
            for event in self._connection.events():
                return event
            data = self._socket.recv(1 << 16)
            if not data:
                return CloseConnection(1006)
            self._connection.receive_data(data)

    def say(self, text: str) -> None:
        """Ask, and do not look at the answer."""
        self._send(TextMessage(text))

    def heard(self) -> dict[str, Any]:
        """The next answer; of a frame the arrays of events and tokens are in their places."""
        data = bytearray()
        while True:
            event = self._event()
            assert isinstance(event, BytesMessage), event
            data += event.data
            if event.message_finished:
                break
        length = int.from_bytes(data[:4], "little")
        document: dict[str, Any] = json.loads(data[4 : 4 + length])
        at = 4 + length
        for name in ("events", "tokens"):
            if isinstance(shape := document.get(name), list):
                size = shape[0] * shape[1]
                document[name] = np.frombuffer(bytes(data[at : at + size]), np.uint8).reshape(shape)
                at += size
        return document

    def ask(self, op: str, **more: Any) -> dict[str, Any]:
        self.say(json.dumps({"op": op, **more}))
        return self.heard()

    def close(self) -> None:
        self._socket.close()


__all__ = ["Page", "Refused"]
