"""Build a board's firmware: compile the bundle to C, then let PlatformIO build everything.

Nothing is written beside the sources: generated models, objects and PlatformIO's own files live in the cache.
Images are kept by the digest of all that they are made from: what was built before, for whatever model, is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
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
from spedge.base.store import digest_of, locked, stored
from spedge.boards.manifest import Board
from spedge.model.bundle import Bundle

Progress = Callable[[str], None]
_LOG = "build.log"
#: Variables of the environment that change what is built.
_SETTING = re.compile(
    r"PLATFORMIO_|SCONSFLAGS$|C_INCLUDE_PATH$|CPATH$|LIBRARY_PATH$|COMPILER_PATH$|GCC_|SOURCE_DATE_EPOCH$"
)
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
    if bundle and model is None:
        model = compile_model(bundle, board.target, say, precision)
    inputs = _inputs(board, model, program)

    def make(folder: Path) -> None:
        say(f"Building the firmware for {board.name}")
        with _workspace(board, model, program) as work:
            _platformio(board, work, say, program=program)
            built = work / "pio" / board.environment / _image_name(board)
            if not built.is_file():
                raise BuildError(f"PlatformIO ended without error but wrote no {built}; see {work / _LOG}")
            shutil.copy2(built, folder)
            shutil.copy2(work / _LOG, folder)
            if _inputs(board, model, program) != inputs:
                raise BuildError(f"the sources changed while the firmware for {board.name} was built: build it again")

    folder = stored("images", f"{board.name}-{program.replace('/', '-')}-{inputs[:32]}", make)
    image = folder / _image_name(board)
    flash, ram = image_size(image)
    _require_room(board, flash, ram)
    report = json.loads((model / "report.json").read_text()) if model else {}
    return Firmware(board, image, bundle.hash if bundle else None, flash, ram, report, folder / _LOG)


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
    model = compile_model(bundle, board.target, precision=precision) if bundle else None
    with _workspace(board, model, "app") as work:
        _platformio(board, work, on_progress or (lambda _: None), "upload", port)
    return firmware


def compile_model(bundle: Bundle, target: str, on_progress: Progress | None = None, precision: str = "fp32") -> Path:
    """The folder with the C of `bundle` for `target`, from the cache when this spedge and TVM made it before."""
    say = on_progress or (lambda _: None)
    require_tvm()
    spec = importlib.util.find_spec("spedge.compile")
    assert spec and spec.origin

    def make(folder: Path) -> None:
        from spedge.compile import compile_bundle

        say(f"Compiling {bundle.name} for {target}")
        compile_bundle(bundle, target, folder, on_progress=say, precision=precision)

    headers = [firmware_dir() / part / "include" for part in ("lib", "runtime")]  # go along with the model
    versions = [importlib.metadata.version(name) for name in ("spedge", "apache-tvm", "onnx", "numpy")]
    maker = digest_of([Path(spec.origin).parent, *headers], *versions)
    return stored("models", f"{bundle.hash[:16]}-{target}-{precision}-{maker[:16]}", make)


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


# ---------------------------------------------------------------- what an image is made from


def _inputs(board: Board, model: Path | None, program: str) -> str:
    """The digest of everything that goes into an image: sources, manifests, model, flags, compiler."""
    folders = [firmware_dir(), boards_dir(), *([model] if model else [])]
    return digest_of(folders, _surroundings(board), board.name, program, "model" if model else "no model")


def _surroundings(board: Board) -> str:
    """What an image is made from besides the files in the folders, as text."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("spedge", "platformio", "scons")]
    settings = [f"{name}={os.environ[name]}" for name in sorted(os.environ) if _SETTING.match(name)]
    compilers = [_version(tool.program) for tool in board.requires if tool.present and tool.program != board.emulator]
    return "\n".join([*versions, *settings, *compilers, _processor(), str(firmware_dir())])


def _version(program: str) -> str:
    """Which compiler that is, and with which C library: the path, what it says, the library's size and time."""
    said = [
        subprocess.run([program, option], capture_output=True, text=True, errors="replace", check=False).stdout
        for option in ("--version", "-print-file-name=libc.a")
    ]
    library = Path(said[1].strip())
    status = library.stat() if library.is_file() else None
    return f"{shutil.which(program)} {said} {status and (status.st_size, status.st_mtime_ns)}"


def _processor() -> str:
    """What -march=native means here."""
    with contextlib.suppress(OSError):
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
        return "\n".join(line for line in first if line.startswith(("model name", "flags", "Features", "CPU ")))
    return platform.processor()


def _image_name(board: Board) -> str:
    return "firmware" if board.runs == "process" else "firmware.elf"


# ---------------------------------------------------------------- PlatformIO


@contextlib.contextmanager
def _workspace(board: Board, model: Path | None, program: str) -> Iterator[Path]:
    """PlatformIO's folder for a program of a board, with the model in its folder "model"; ours while we are in it.

    What models share is compiled once: all of them are built in this folder, from the same place. It is used again
    only after builds that ended by themselves, for a compiler that was killed may have left half an object.
    """
    about = hashlib.sha256(_surroundings(board).encode()).hexdigest()[:8]
    home = cache_dir() / "build" / f"{board.name}-{program.replace('/', '-')}-{about}"
    busy = home / "busy"
    with locked(home.with_name(f"{home.name}.lock")):
        if busy.exists() or not any(home.glob("objects-*")):
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)
            # under a new name: a compiler may be on its way to its end, and write once more
            Path(tempfile.mkdtemp(prefix="objects-", dir=home))
        busy.touch()
        (folder,) = home.glob("objects-*")
        shutil.rmtree(folder / "model", ignore_errors=True)
        if model:
            shutil.copytree(model, folder / "model")
        try:
            yield folder
        except BuildError:
            busy.unlink()
            raise
        busy.unlink()


def _platformio(
    board: Board,
    folder: Path,
    say: Progress,
    target: str | None = None,
    port: str | None = None,
    program: str = "app",
) -> None:
    log = folder / _LOG
    command = [sys.executable, "-m", "platformio", "run", "-d", str(firmware_dir()), "-e", board.environment]
    lines: list[str] = []
    command += [f"--target={target}"] if target else []
    command += [f"--upload-port={port}"] if port else []
    with log.open("w") as output, _process(command, _environment(folder, program)) as process:
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


def _environment(folder: Path, program: str) -> dict[str, str]:
    """Everything PlatformIO writes goes to the cache; it asks no server anything."""
    home = cache_dir() / "platformio"
    _provide_scons(home / "packages" / "tool-scons")
    where = hashlib.sha256(str(boards_dir()).encode()).hexdigest()[:8]  # the link to our platform holds a path
    return {
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
        "SPEDGE_MODEL_DIR": str(folder / "model"),
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


def _first_error(lines: list[str]) -> str:
    for pattern in (r"(?:fatal )?error:|undefined reference|will not fit|overflowed by", r"(?i)error"):
        for line in lines:
            if re.search(pattern, line):
                return line.strip()
    return lines[-1] if lines else "PlatformIO said nothing"
