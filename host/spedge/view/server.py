"""The page's server: on 127.0.0.1 only, behind a token in its address; it has nothing to read but the page and a stage.

A page asks, the server answers: a page that asks for a frame gets one, and the next when it asks again. So there is one
in flight for each page however slow it is, and what happened meanwhile is in the next one.
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
from collections.abc import Awaitable, Callable
from importlib import resources
from types import TracebackType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from spedge.base.errors import SpedgeError, UsageError
from spedge.view import palette
from spedge.view.stage import Answer, Stage, refused

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_MOST_ASKED = 1 << 16  # bytes of a question
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_Receive = Callable[[], Awaitable[Any]]
_Send = Callable[[Any], Awaitable[None]]


class Server:
    """Shows a stage on a page while the block runs. port: 0 for any that is free.

    Raises UsageError where the port cannot be had.
    """

    def __init__(self, stage: Stage, port: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(("127.0.0.1", port))
            self._socket.listen()  # who comes before the thread runs waits
        except (OSError, OverflowError) as error:
            self._socket.close()
            raise UsageError(f"port {port} of 127.0.0.1 cannot be had: {error}; --port 0 takes any") from None
        self.port = int(self._socket.getsockname()[1])
        self.token = secrets.token_urlsafe(18)
        app = _Guarded(_pages(stage), self.token, self.port)
        config = uvicorn.Config(
            app, ws="wsproto", log_level="critical", lifespan="off", access_log=False, server_header=False,
            ws_max_size=_MOST_ASKED, ws_per_message_deflate=False, timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="page", daemon=True)

    @property
    def address(self) -> str:
        """To be opened in a browser of this machine."""
        return f"http://127.0.0.1:{self.port}/{self.token}/"

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(5)
        self._socket.close()


def _pages(stage: Stage) -> Starlette:
    folder = resources.files("spedge.view") / "page"
    files = {file.name: file.read_bytes() for file in folder.iterdir() if file.name.rpartition(".")[2] in _TYPES}

    async def file(request: Request) -> Response:
        name = request.path_params.get("name") or "index.html"
        if name not in files:
            return PlainTextResponse("there is no such page", 404)
        return Response(files[name], media_type=_TYPES[name.rpartition(".")[2]], headers=_HEADERS)

    async def about(_: Request) -> Response:
        told = await run_in_threadpool(stage.about)
        return JSONResponse(told | {"palette": palette.described()}, headers=_HEADERS)

    async def asks(page: WebSocket) -> None:
        await page.accept()
        try:
            while True:
                text = await page.receive_text()
                answer = await run_in_threadpool(_answer, stage, text)
                await page.send_bytes(packed(answer))
        except (WebSocketDisconnect, KeyError):  # gone, or it sent bytes
            return

    return Starlette(
        routes=[
            Route("/", file),
            Route("/about", about),
            WebSocketRoute("/asks", asks),
            Route("/{name}", file),
        ]
    )


def _answer(stage: Stage, text: str) -> Answer:
    try:
        asked = json.loads(text)
        if not isinstance(asked, dict):
            raise UsageError("a question is an object")
        answer = stage.answer(asked)
    except (json.JSONDecodeError, RecursionError):
        answer, asked = refused(UsageError("that is no JSON")), {}
    except SpedgeError as error:
        answer = refused(error)
    return Answer({**answer.document, "id": asked.get("id") if isinstance(asked, dict) else None}, answer.parts)


def packed(answer: Answer) -> bytes:
    """The document's length (4 bytes, little-endian), the document, the parts."""
    document = json.dumps(answer.document, separators=(",", ":")).encode()
    return b"".join((len(document).to_bytes(4, "little"), document, *answer.parts))


class _Guarded:
    """Lets in who knows the token and calls this machine by its name: no other site's page can, whatever it knows."""

    def __init__(self, app: Starlette, token: str, port: int) -> None:
        self._app = app
        self._token = token.encode()
        self._hosts = {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost")}

    async def __call__(self, scope: Any, receive: _Receive, send: _Send) -> None:
        headers = scope.get("headers", [])
        hosts = [value for name, value in headers if name == b"host"]
        origins = [value for name, value in headers if name == b"origin"]
        own = {b"http://" + host for host in self._hosts}
        _, _, rest = scope["path"].partition("/")
        token, slash, inside = rest.partition("/")
        good = (
            len(hosts) == 1
            and hosts[0] in self._hosts
            and all(origin in own for origin in origins)
            and (len(origins) == 1 or scope["type"] == "http")
            and secrets.compare_digest(token.encode(), self._token)
            and slash
        )
        if not good:
            await self._refuse(scope, receive, send)
            return
        await self._app({**scope, "path": f"/{inside}", "raw_path": None, "root_path": ""}, receive, send)

    async def _refuse(self, scope: Any, receive: _Receive, send: _Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        await PlainTextResponse("this address is not known here", 403)(scope, receive, send)
