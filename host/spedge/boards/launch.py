"""Start the boards that this machine can be: the simulated one and those in QEMU. Nothing outlives us."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from spedge.base.children import OWN_GROUP, guarded
from spedge.base.errors import DeviceError, DeviceGone, UsageError
from spedge.base.programs import apt_get
from spedge.boards import qemu
from spedge.boards.manifest import Board, Process, Qemu
from spedge.link.transport import Transport, connect, connect_unix

_START_SECONDS = 5.0
_STOP_SECONDS = 3.0
_GREETING_SECONDS = 1.0  # firmware that says nothing at first is used all the same
_LOOK_SECONDS = 0.1  # at a process, to see whether it computes


def start(board: Board, image: Path, ram: Path | None = None, tracing: Sequence[str] = ()) -> Started:
    """Start the board and find out where its link is. ram: a file of camera bytes for its memory, for the source "ram".
    tracing: more arguments of its emulator, where it has one.

    Call it from the main thread: what it starts is ended by the kernel together with the thread that started it.
    Raises DeviceError when it cannot be started, UsageError for a board on a cable, or without memory for camera bytes.
    """
    if board.runs == "serial":
        raise UsageError(f"{board.name} is on a cable: this needs a board that is simulated or emulated here")
    if board.emulator:
        require_emulator(board, board.emulator)
    started = _qemu(board, board.qemu, image, ram, tracing) if board.qemu else _process(board, image, ram, tracing)
    try:
        started.boot()
    except BaseException:
        started.stop()
        raise
    return started


@contextlib.contextmanager
def running(
    board: Board, image: Path, tracing: Sequence[str] = ()
) -> Iterator[tuple[Transport, Callable[[], str | None]]]:
    """A board of this machine, running `image` of any program: the bytes of its link, and why it is gone if it is.

    Ended with the block. tracing: more arguments of its emulator. Raises what `start` raises.
    """
    started = start(board, image, tracing=tracing)
    try:
        transport = started.connect()
        try:
            yield transport, started.obituary
        finally:
            transport.close()
    finally:
        started.stop()


class Started:
    """A child process that is a device. camera_address: the other end of its camera port, once connected."""

    camera_address: str | None = None

    def __init__(self, name: str, command: list[str], folder: Path) -> None:
        self.name = name
        self._folder = folder
        self._log = folder / "stderr"
        try:
            with self._log.open("wb") as log:
                # in a group of its own: the terminal's Ctrl-C and Ctrl-Z are for the host
                self.process = subprocess.Popen(
                    guarded(command),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    **OWN_GROUP,
                )
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise DeviceGone(f"{name} cannot be started: {command[0]}: {error.strerror}") from error

    def boot(self) -> None:
        """Find out where the link is."""
        raise NotImplementedError

    def connect(self) -> Transport:
        """Open the link, and let the device run; may be called again when the link has been closed."""
        raise NotImplementedError

    def quit(self) -> None:
        """Make it end: at once, unless there is a better way."""
        self.process.kill()

    def obituary(self) -> str | None:
        """Why the process is gone; None while it is there."""
        try:
            status = self.process.wait(0.3)
        except subprocess.TimeoutExpired:
            return None
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        lines = self._log.read_text(errors="replace").split("\n") if self._log.exists() else []
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        said = "" if -status in (signal.SIGKILL, signal.SIGTERM) else said  # it did not foresee that
        return f"{self.name} {how}" + (f": {said}" if said else " while it was in use")

    def _gone(self) -> bool:
        return self.process.poll() is not None

    def at_work(self) -> bool:
        """Whether it computes just now; takes a moment to see."""
        before = self._ticks()
        time.sleep(_LOOK_SECONDS)
        return self._ticks() > before

    def _ticks(self) -> float:
        """Processor time so far, s."""
        import psutil

        with contextlib.suppress(psutil.Error):
            times = psutil.Process(self.process.pid).cpu_times()
            return float(times.user + times.system)
        return 0.0

    def stop(self) -> None:
        """End it, by force when it does not within a few seconds, and clean up."""
        if self.process.poll() is None:
            try:
                self.quit()
                self.process.wait(_STOP_SECONDS)
            except (OSError, subprocess.TimeoutExpired):
                self.process.kill()
                self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class _Process(Started):
    start_seconds = Process.start_seconds

    def boot(self) -> None:
        lines = self._said(2)
        if len(lines) < 2:
            raise DeviceGone(self.obituary() or f"{self.name} did not say where its link and its camera port are")
        self._link, self.camera_address = lines

    def connect(self) -> Transport:
        transport = connect(self._link)
        transport.name = self.name
        return transport

    def _said(self, lines: int) -> list[str]:
        """That many first lines of its standard output; fewer when it ends or takes too long."""
        assert self.process.stdout
        deadline = time.monotonic() + self.start_seconds
        text = b""
        while text.count(b"\n") < lines:
            left = max(deadline - time.monotonic(), 0)
            if not select.select([self.process.stdout], [], [], left)[0]:
                break
            if not (more := os.read(self.process.stdout.fileno(), 4096)):
                break
            text += more
        return text.decode().split("\n")[:-1]


class _QemuProcess(Started):
    """QEMU, started paused so that nothing is lost before both sockets are connected."""

    def __init__(self, board: Board, command: list[str], folder: Path) -> None:
        super().__init__(board.name, command, folder)
        assert board.qemu
        self._deaf_at_start = board.qemu.deaf_at_start
        if board.qemu.camera is not None:
            self.camera_address = f"unix:{folder / 'camera'}"

    def boot(self) -> None:
        try:
            self._monitor = qemu.Monitor(self._folder / "qmp", self._gone)
        except (DeviceError, OSError) as error:
            raise self._unreachable(error) from error

    def connect(self) -> Transport:
        try:
            transport = connect_unix(self._folder / "uart0", _START_SECONDS, self._gone)
            self._monitor.execute("cont")
            if self._deaf_at_start:
                self._deaf_at_start = False
                transport.exchange(b"", _GREETING_SECONDS)  # it begins with the end of a frame
        except (DeviceError, OSError) as error:
            raise self._unreachable(error) from error
        transport.name = self.name
        return transport

    def _unreachable(self, error: Exception) -> DeviceGone:
        return DeviceGone(self.obituary() or f"{self.name}: QEMU cannot be reached: {error}")

    def quit(self) -> None:
        monitor = getattr(self, "_monitor", None)
        if monitor is None:
            super().quit()
        else:
            monitor.quit()


def _scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="spedge-"))


def _process(board: Board, image: Path, ram: Path | None, tracing: Sequence[str]) -> Started:
    process = board.process or Process()
    emulator = [process.emulator, *tracing] if process.emulator and process.emulated else []
    command = [*emulator, str(image), *process.arguments, *([str(ram)] if ram else [])]
    started = _Process(board.name, command, _scratch())
    started.start_seconds = process.start_seconds
    return started


def require_emulator(board: Board, program: str) -> None:
    """Raises DeviceGone, with the command that brings it, where a program that emulates the board is not installed."""
    if shutil.which(program) is None:
        packages = [p for tool in board.requires if tool.program == program for p in tool.packages]
        bring = apt_get(packages or [program])
        raise DeviceGone(f"{board.name} needs {program}, which is not installed: {bring}")


def _qemu(board: Board, own: Qemu, image: Path, ram: Path | None, tracing: Sequence[str]) -> Started:
    if ram is not None and own.ram_source is None:
        raise UsageError(f"{board.name} has no memory for camera bytes")
    folder = _scratch()
    more = ["-S", *tracing]
    sockets = {own.link: "uart0"} | ({own.camera: "camera"} if own.camera is not None else {})
    for uart in range(max(sockets) + 1):
        more += ["-serial", qemu.listening(folder / sockets[uart]) if uart in sockets else "null"]
    more += ["-qmp", qemu.listening(folder / "qmp")]
    if ram is not None and own.ram_source is not None:
        loaded = folder / "ram"
        loaded.write_bytes(ram.stat().st_size.to_bytes(4, "little") + ram.read_bytes())
        more += qemu.loaded(loaded, own.ram_source)
    return _QemuProcess(board, qemu.command(own, image, *more), folder)
