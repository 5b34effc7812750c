"""PlatformIO: where it works, how it is run, and what went wrong when it fails."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from spedge.base.children import OWN_GROUP, guarded
from spedge.base.errors import DeviceError
from spedge.base.paths import cache_dir
from spedge.base.store import forget_the_oldest, locked, locked_if_free
from spedge.boards.build_log import what_went_wrong
from spedge.boards.manifest import Board

Progress = Callable[[str], None]
#: Paths that SCons, the shell and the compilers' drivers take as they are; others they expand, split or cannot find.
_PLAIN = re.compile(r"[\w/.+,@~-]+", re.ASCII)
_KEPT = 30  # workspaces; each is for a board, a program and all that they are built with
_UNKEPT = shutil.ignore_patterns("__pycache__", ".pio")
#: Ends when PlatformIO does, as that ends when we do.
_SCONS = """\
import contextlib, ctypes, signal

import SCons.Script

with contextlib.suppress(AttributeError):  # Linux only
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
SCons.Script.main()
"""


class BuildError(DeviceError):
    """The firmware could not be built."""


@dataclass(frozen=True)
class Workspace:
    """Where PlatformIO works.

    firmware: the sources, with the boards beside them. home: PlatformIO's own files. objects: what it makes, and the
    model in the folder "model". log: its output. parts: folders of sources of others, by name. aliases: paths of ours
    that stand for others here.
    """

    firmware: Path
    home: Path
    objects: Path
    log: Path
    parts: dict[str, Path]
    aliases: tuple[tuple[Path, Path], ...] = ()


@contextlib.contextmanager
def workspace(name: str, firmware: Path, model: Path | None, parts: dict[str, Path]) -> Iterator[Workspace]:
    """The folder of that name in the cache, with the model in it; ours while we are in it.

    parts: as spedge.boards.parts provides them.

    What models share is compiled once: all of them are built in this folder, from the same place. It is used again
    only after builds that ended by themselves, for a compiler that was killed may have left half an object.
    Where the sources or the cache have a path that the tools do not bear, all of it is in a folder elsewhere instead,
    made anew each time.
    """
    home = cache_dir() / "build" / name
    log = home.with_name(f"{name}.log")
    with locked(home.with_name(f"{name}.lock")):
        if not all(_PLAIN.fullmatch(str(path)) for path in (home, firmware)):
            with tempfile.TemporaryDirectory(prefix="spedge-", dir=_plain_scratch()) as elsewhere:
                work = _copied(Path(elsewhere), firmware, log, parts)
                _put_model(work.objects, model)
                yield work
            return
        busy = home / "busy"
        if busy.exists() or not any(home.glob("objects-*")):
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)
            forget_the_oldest(home.parent, _KEPT, lambda old: locked_if_free(home.with_name(f"{old}.lock")))
            # under a new name: a compiler may be on its way to its end, and write once more
            Path(tempfile.mkdtemp(prefix="objects-", dir=home))
        busy.touch()
        (objects,) = home.glob("objects-*")
        _put_model(objects, model)
        try:
            yield Workspace(firmware, cache_dir() / "platformio", objects, log, parts)
        except BuildError:
            busy.unlink()
            raise
        busy.unlink()


def run(work: Workspace, board: Board, program: str, say: Progress) -> None:
    """Build a program of a board. Raises BuildError, which names the log."""
    command = [sys.executable, "-m", "platformio", "run", "-d", str(work.firmware), "-e", board.environment]
    lines: list[str] = []
    with work.log.open("w") as output, _process(command, _environment(work, program)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            for here, there in work.aliases:
                line = line.replace(str(here), str(there))
            output.write(line)
            lines.append(line.rstrip())
            if line.startswith(("Compiling", "Linking")):
                say(f"{line.split()[0]} {Path(line.split()[-1]).name}")
    if process.returncode:
        raise BuildError(f"the firmware for {board.name} did not build: {what_went_wrong(lines)} (log: {work.log})")


def _plain_scratch() -> str:
    usual = tempfile.gettempdir()
    return usual if _PLAIN.fullmatch(usual) else "/tmp"


def _copied(folder: Path, firmware: Path, log: Path, parts: dict[str, Path]) -> Workspace:
    shutil.copytree(firmware, folder / "firmware", ignore=_UNKEPT)
    shutil.copytree(firmware.parent / "boards", folder / "boards", ignore=_UNKEPT)
    objects = folder / "objects"
    objects.mkdir()
    aliases = tuple((folder / name, firmware.parent / name) for name in ("firmware", "boards"))
    copies = {name: shutil.copytree(part, folder / "parts" / name) for name, part in parts.items()}
    return Workspace(folder / "firmware", folder / "platformio", objects, log, copies, aliases)


def _put_model(objects: Path, model: Path | None) -> None:
    shutil.rmtree(objects / "model", ignore_errors=True)
    if model:
        shutil.copytree(model, objects / "model")


@contextlib.contextmanager
def _process(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run in a process group of its own, so that an interruption ends the compilers too."""
    process = subprocess.Popen(
        guarded(command),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        **OWN_GROUP,
    )
    try:
        yield process
        process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def _environment(work: Workspace, program: str) -> dict[str, str]:
    """Nothing that PlatformIO writes goes beside the sources; it asks no server anything."""
    _provide_scons(work.home / "packages" / "tool-scons")
    boards = work.firmware.parent / "boards"
    where = hashlib.sha256(str(boards).encode()).hexdigest()[:8]  # the link to our platform holds a path
    return {
        **os.environ,
        "PLATFORMIO_CORE_DIR": str(work.home),
        "PLATFORMIO_PLATFORMS_DIR": str(work.home / f"platforms-{where}"),
        "PLATFORMIO_WORKSPACE_DIR": str(work.objects / "workspace"),
        "PLATFORMIO_BUILD_DIR": str(work.objects / "pio"),  # emptied by PlatformIO when files come and go
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "No",
        "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
        "PLATFORMIO_DISABLE_COLOR": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SPEDGE_VERSION": importlib.metadata.version("spedge"),
        "SPEDGE_PROGRAM": program,
        "SPEDGE_MODEL_DIR": str(work.objects / "model"),
        "SPEDGE_PARTS": json.dumps({name: str(folder) for name, folder in work.parts.items()}),
    }


def _provide_scons(package: Path) -> None:
    """Give PlatformIO its package `tool-scons` from the SCons that pip installed.

    Without it `pio` turns to its registry. The version is the one PlatformIO asks for; the extra `firmware`
    pins the SCons that has it.
    """
    from platformio.dependencies import get_core_dependencies

    version = get_core_dependencies()["tool-scons"].lstrip("~^=")
    files = {
        "scons.py": _SCONS,
        "package.json": json.dumps({"name": "tool-scons", "version": version, "description": "SCons from PyPI"}),
        ".piopm": json.dumps(
            {
                "type": "tool",
                "name": "tool-scons",
                "version": version,
                "spec": {"owner": "platformio", "id": None, "name": "tool-scons", "requirements": None, "uri": None},
            }
        ),
    }
    package.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = package / name
        if not path.is_file() or path.read_text() != text:
            with tempfile.NamedTemporaryFile("w", dir=package, delete=False) as part:
                part.write(text)
            Path(part.name).replace(path)
