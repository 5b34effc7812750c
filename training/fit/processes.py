"""The processes of one training: starting those beside this one, and noticing when one of them is gone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed

from ..progress import TrainingError
from .machine import Place

GONE = "Another process of this training has ended: begin it again, which goes on from the last checkpoint."
_NAMES = ("MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK", "OMP_NUM_THREADS")  # torch's, of the environment
_LOOK_SECONDS = 1.0
_GRACE_SECONDS = 10.0  # in which a process should notice by itself, by a message that does not come


@contextmanager
def together(place: Place) -> Iterator[None]:
    """While the block runs, the processes of a machine are there: the first one starts the others by its own command.

    One that waits for another that is gone ends. Raises TrainingError when others have ended before their work was
    done.
    """
    if place.processes == 1:
        yield
        return
    before = {name: os.environ.get(name) for name in _NAMES}
    others: list[subprocess.Popen[bytes]] = []
    done = threading.Event()
    try:
        if not place.started:
            os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
            os.environ.setdefault("MASTER_PORT", str(_free_port()))
            os.environ["LOCAL_RANK"] = "0"
            others += [_another(local) for local in range(1, place.devices)]
        os.environ["OMP_NUM_THREADS"] = str(torch.get_num_threads())  # else Lightning sets another number
        _watch(_one_is_gone(others, place.started), done)
        yield
    except RuntimeError as error:
        if isinstance(error, torch.distributed.DistError) or "gloo" in str(error) or "NCCL" in str(error):
            raise TrainingError(GONE) from None
        raise
    finally:
        done.set()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _another(local: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, *sys.orig_argv[1:]]
    return subprocess.Popen(command, env={**os.environ, "LOCAL_RANK": str(local)}, stdin=subprocess.DEVNULL)


def _one_is_gone(others: list[subprocess.Popen[bytes]], started: bool) -> Callable[[], bool]:
    """Whether a process that this one started has failed, or the one that started this is there no more."""
    parent = os.getppid()
    return lambda: any(other.poll() for other in others) or (started and os.getppid() != parent)


def _watch(gone: Callable[[], bool], done: threading.Event) -> None:
    """End this process, when it has not noticed by itself that another one is gone: it may wait for ever."""

    def look() -> None:
        while not gone():
            if done.wait(_LOOK_SECONDS):
                return
        if not done.wait(_GRACE_SECONDS):
            os.write(2, f"spedge: error: {GONE}\n".encode())
            os._exit(TrainingError.exit_code)

    threading.Thread(target=look, name="other processes", daemon=True).start()


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
