"""Build a board's firmware: compile the bundle to C, then let PlatformIO build everything.

Nothing is written beside the sources: generated models, objects and PlatformIO's own files live in the cache.
A build whose inputs did not change since the last one returns at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
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

from spedge.base.children import guarded
from spedge.base.errors import DeviceError, UsageError
from spedge.base.paths import boards_dir, cache_dir, firmware_dir
from spedge.boards.manifest import Board
from spedge.model.bundle import Bundle

Progress = Callable[[str], None]
_NO_MODEL = "no-model"
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
class Firmware:
    """A built image.

    `model_hash` is the bundle's hash (64 hex digits), None for a firmware without a model. `flash_bytes` is
    what the image takes in the chip's flash (code, constants, initial values), `ram_bytes` what it reserves
    in RAM. `report` is the compiler's report on the model, empty without one. `log` is PlatformIO's output.
    """

    board: Board
    path: Path
    model_hash: str | None
    flash_bytes: int
    ram_bytes: int
    report: dict[str, object]
    log: Path


def build(
    board: Board,
    bundle: Bundle | None,
    on_progress: Progress | None = None,
    precision: str = "fp32",
    program: str = "app",
    model: Path | None = None,
) -> Firmware:
    """The firmware of `board` with the model of `bundle` (or none) in it, built when needed.

    precision: that of the compiled model. program: the folder below firmware/ with its main: "app",
    "bench/tokenizer" or "bench/model". model: a folder that the bundle was compiled to, instead of the one in the
    cache.
    on_progress gets short sentences. Raises UsageError when an extra of spedge is not installed, BuildError
    when a compiler is missing or the build fails, naming the log.
    """
    say = on_progress or (lambda _: None)
    _require_compiler(board)
    own = model is not None
    if bundle and model is None:
        model = compile_model(bundle, board.target, say, precision)
    parts = [board.name, bundle.hash[:16] if bundle else _NO_MODEL]
    parts += [part for part, usual in ((precision, "fp32"), (program, "app")) if part != usual]
    key = "-".join([*parts, "own"] if own else parts).replace("/", "-")
    folder = cache_dir() / "build" / key
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        image = folder / "pio" / board.environment / ("firmware.elf" if board.runs != "process" else "firmware")
        log = folder / "build.log"
        stamp = folder / "stamp"
        inputs = _fingerprint([firmware_dir(), boards_dir(), *([model] if model else [])])
        if not (image.is_file() and stamp.is_file() and stamp.read_text() == inputs):
            say(f"Building the firmware for {board.name}")
            stamp.unlink(missing_ok=True)
            _platformio(board, folder, model, log, say, program=program)
            if not image.is_file():
                raise BuildError(f"PlatformIO ended without error but wrote no {image}; see {log}")
            stamp.write_text(inputs)
    flash, ram = image_size(image)
    _require_room(board, flash, ram)
    report = json.loads((model / "report.json").read_text()) if model else {}
    return Firmware(board, image, bundle.hash if bundle else None, flash, ram, report, log)


def upload(
    board: Board,
    bundle: Bundle | None,
    port: str | None = None,
    on_progress: Progress | None = None,
    precision: str = "fp32",
) -> Firmware:
    """Build and write the image to a board on a cable, at `port` or where PlatformIO finds it; see `build`.

    Raises UsageError for an emulated board, and what `build` raises.
    """
    if board.runs != "serial":
        raise UsageError(f"{board.name} runs on this machine: there is nothing to write it to")
    firmware = build(board, bundle, on_progress, precision)
    folder = firmware.log.parent
    model = compile_model(bundle, board.target, precision=precision) if bundle else None
    with _locked(folder):
        _platformio(board, folder, model, folder / "upload.log", on_progress or (lambda _: None), "upload", port)
    return firmware


def compile_model(bundle: Bundle, target: str, on_progress: Progress | None = None, precision: str = "fp32") -> Path:
    """The folder with the C of `bundle` for `target`, from the cache when this spedge and TVM made it before."""
    say = on_progress or (lambda _: None)
    require_tvm()
    spec = importlib.util.find_spec("spedge.compile")
    assert spec and spec.origin
    versions = "/".join(importlib.metadata.version(name) for name in ("spedge", "apache-tvm"))
    maker = hashlib.sha256(f"{versions}/{_fingerprint([Path(spec.origin).parent])}".encode()).hexdigest()[:8]
    folder = cache_dir() / "models" / f"{bundle.hash[:16]}-{target}-{precision}-{maker}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        if not (folder / "report.json").is_file():
            from spedge.compile import compile_bundle

            say(f"Compiling {bundle.name} for {target}")
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                part = Path(scratch) / "model"
                compile_bundle(bundle, target, part, on_progress=say, precision=precision)
                shutil.rmtree(folder, ignore_errors=True)
                part.replace(folder)
    return folder


def require_tvm() -> None:
    """Raises UsageError, naming the extra, when TVM is not installed."""
    if importlib.util.find_spec("tvm") is None:
        raise UsageError("compiling a bundle needs TVM: pip install 'spedge[compile]'")


def image_size(path: Path) -> tuple[int, int]:
    """Bytes in flash (code, constants, initial values) and bytes of RAM reserved by an ELF image."""
    from elftools.elf.elffile import ELFFile

    flash = ram = 0
    with path.open("rb") as stream:
        for section in ELFFile(stream).iter_sections():
            if section["sh_flags"] & 2:  # SHF_ALLOC
                flash += section["sh_size"] if section["sh_type"] != "SHT_NOBITS" else 0
                ram += section["sh_size"] if section["sh_flags"] & 1 else 0  # SHF_WRITE
    return flash, ram


def _require_compiler(board: Board) -> None:
    for tool in board.missing:
        if tool.program != board.emulator:
            packages = " ".join(tool.packages)
            raise BuildError(
                f"{board.name} needs {tool.program}, which is not installed: sudo apt-get install {packages}"
            )
    for module in ("platformio", "SCons"):
        if importlib.util.find_spec(module) is None:
            raise UsageError(f"building firmware needs {module}: pip install 'spedge[firmware]'")


def _require_room(board: Board, flash: int, ram: int) -> None:
    for name, used, limit in (("flash", flash, board.flash_bytes), ("RAM", ram, board.ram_bytes)):
        if used > limit and board.runs != "process":
            raise BuildError(
                f"the firmware takes {used} bytes of {name} and {board.name} has {limit}: choose a smaller model"
            )


def _fingerprint(folders: list[Path]) -> str:
    """Changes when a file below the folders does: names, sizes and times, and the version of spedge."""
    digest = hashlib.sha256(importlib.metadata.version("spedge").encode())
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                status = path.stat()
                digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One builder of a folder at a time, across processes."""
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# ---------------------------------------------------------------- PlatformIO


def _platformio(
    board: Board,
    folder: Path,
    model: Path | None,
    log: Path,
    say: Progress,
    target: str | None = None,
    port: str | None = None,
    program: str = "app",
) -> None:
    command = [sys.executable, "-m", "platformio", "run", "-d", str(firmware_dir()), "-e", board.environment]
    lines: list[str] = []
    command += [f"--target={target}"] if target else []
    command += [f"--upload-port={port}"] if port else []
    with log.open("w") as output, _process(command, _environment(folder, model, program)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            output.write(line)
            lines.append(line.rstrip())
            if line.startswith(("Compiling", "Linking")):
                say(f"{line.split()[0]} {Path(line.split()[-1]).name}")
    if process.returncode:
        what = "could not be written to the board" if target == "upload" else "did not build"
        raise BuildError(f"the firmware for {board.name} {what}: {_first_error(lines)} (log: {log})")


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
        process_group=0,
    )
    try:
        yield process
        process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def _environment(folder: Path, model: Path | None, program: str) -> dict[str, str]:
    """Everything PlatformIO writes goes to the cache; it asks no server anything."""
    home = cache_dir() / "platformio"
    _provide_scons(home / "packages" / "tool-scons")
    where = hashlib.sha256(str(boards_dir()).encode()).hexdigest()[:8]  # the link to our platform holds a path
    environment = {
        **os.environ,
        "PLATFORMIO_CORE_DIR": str(home),
        "PLATFORMIO_PLATFORMS_DIR": str(home / f"platforms-{where}"),
        "PLATFORMIO_WORKSPACE_DIR": str(folder / "workspace"),
        "PLATFORMIO_BUILD_DIR": str(folder / "pio"),  # emptied by PlatformIO when files come and go
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "No",
        "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
        "PLATFORMIO_DISABLE_COLOR": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SPEDGE_VERSION": importlib.metadata.version("spedge"),
        "SPEDGE_PROGRAM": program,
    }
    environment.pop("SPEDGE_MODEL_DIR", None)
    if model:
        environment["SPEDGE_MODEL_DIR"] = str(model)
    return environment


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


def _first_error(lines: list[str]) -> str:
    for pattern in (r"(?:fatal )?error:|undefined reference|will not fit|overflowed by", r"(?i)error"):
        for line in lines:
            if re.search(pattern, line):
                return line.strip()
    return lines[-1] if lines else "PlatformIO said nothing"
