"""Pages of the browser, for verbs that show something beside what they do."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spedge.cli.common import interruptible, require_view

if TYPE_CHECKING:
    from spedge.tokens.settings import TokenizerSettings
    from spedge.view.live import LiveStage
    from spedge.view.stage import Stage

PortOption = Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0: any that is free.")]
BrowserOption = Annotated[bool, typer.Option(help="Open the page in the browser.")]


def require_page() -> None:
    """Raises UsageError, naming the extra, when what the page needs is not installed."""
    require_view("starlette", "uvicorn", "wsproto", "pillow")


def open_browser(address: str) -> None:
    """One that cannot be started is no error: the address has been said."""
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


@contextlib.contextmanager
def shown_live(
    name: str, settings: TokenizerSettings, labels: tuple[str, ...] = (), device: str = "", detects: bool = False
) -> Iterator[LiveStage]:
    """A page on a source while the block runs; its address is said on stderr. The rest is as for `LiveStage`."""
    from spedge.view.live import LiveStage
    from spedge.view.server import Server

    with LiveStage(name, settings, labels, device, detects) as stage, Server(stage) as server:
        print(f"{name} is at {server.address}", file=sys.stderr, flush=True)
        open_browser(server.address)
        yield stage


@contextlib.contextmanager
def shown_run(folder: Path, data: Path | None) -> Iterator[None]:
    """A page on a run while the block trains it; its address is said on stderr.

    It is a process of its own that reads the run's folder: what it does, and how it ends, is nothing to the training.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    page = context.Process(target=_show_run, args=(folder, data, theirs), name="page", daemon=True)
    page.start()
    theirs.close()
    address = ours.recv()
    print(f"{folder} is at {address}", file=sys.stderr, flush=True)
    open_browser(address)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it may have ended
            ours.send("end")
        page.join(5)
        page.kill()


def _show_run(folder: Path, data: Path | None, training: Any) -> None:
    """Until the other end says something, or is gone."""
    from spedge.view.server import Server

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the training, which says when it has ended
    with Server(run_stage(folder, data)) as server:
        training.send(server.address)
        with contextlib.suppress(EOFError):
            training.recv()


def run_stage(folder: Path, data: Path | None) -> Stage:
    """What a page shows of a run's folder. data: what it is trained on."""
    from spedge.training.watching import WatchedRun
    from spedge.view.training import TrainingStage

    return TrainingStage(folder.name, WatchedRun(folder, data))


@contextlib.contextmanager
def shown_until_interrupted(name: str, stage: Stage) -> Iterator[Callable[[], None]]:
    """A page while the block runs; its address is said on stderr. What is yielded waits for Ctrl-C."""
    from spedge.view.server import Server

    with Server(stage) as server:
        print(f"{name} is at {server.address} until Ctrl-C", file=sys.stderr, flush=True)
        open_browser(server.address)
        yield _until_interrupted


def _until_interrupted() -> None:
    ended = threading.Event()
    with interruptible(ended.set):
        while not ended.wait(3600):
            pass


def stay(name: str, stage: Stage, port: int, browser: bool, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Show a page until Ctrl-C. meanwhile: what is done once it is there."""
    from spedge.view.server import Server

    ended = threading.Event()
    with Server(stage, port) as server, interruptible(ended.set):  # before the address is said
        print(f"{name} is at {server.address} until Ctrl-C", flush=True)
        if browser:
            open_browser(server.address)
        meanwhile()
        while not ended.wait(3600):
            pass
