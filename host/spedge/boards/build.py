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
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spedge.base.errors import UsageError
from spedge.base.paths import boards_dir, firmware_dir
from spedge.base.store import digest_of, stored
from spedge.boards.flash.image import read_elf, write_outputs
from spedge.boards.manifest import Board
from spedge.boards.parts import provide
from spedge.boards.platformio import BuildError, Progress, Workspace, run, workspace
from spedge.model.bundle import Bundle

if TYPE_CHECKING:
    from spedge.compile.measure.footprint import Footprint

_LOG = "build.log"
#: Variables of the environment that change what is built.
_SETTING = re.compile(
    r"PLATFORMIO_|SCONSFLAGS$|C_INCLUDE_PATH$|CPATH$|LIBRARY_PATH$|COMPILER_PATH$|GCC_|SOURCE_DATE_EPOCH$"
)


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
    return _build(board, bundle, model, say, program)


def _build(board: Board, bundle: Bundle | None, model: Path | None, say: Progress, program: str) -> Firmware:
    """The image, with the model that was compiled to a folder."""
    inputs = _inputs(board, model, program)

    def make(folder: Path) -> None:
        parts = provide(board, say)
        say(f"Building the firmware for {board.name}")
        with _workspace(board, model, program, parts) as work:
            run(work, board, program, say)
            built = work.objects / "pio" / board.environment / _image_name(board)
            if not built.is_file():
                raise BuildError(f"PlatformIO ended without error but wrote no {built}; see {work.log}")
            shutil.copy2(built, folder)
            if board.flash and built.suffix == ".elf":
                write_outputs(read_elf(built), folder, built.stem, board.flash.uf2_family)
            shutil.copy2(work.log, folder / _LOG)
            if _inputs(board, model, program) != inputs:
                raise BuildError(f"the sources changed while the firmware for {board.name} was built: build it again")

    folder = stored("images", f"{board.name}-{program.replace('/', '-')}-{inputs[:32]}", make)
    image = folder / _image_name(board)
    flash, ram = image_size(image)
    _require_room(board, flash, ram)
    report = json.loads((model / "report.json").read_text()) if model else {}
    return Firmware(board, image, bundle.hash if bundle else None, flash, ram, report, folder / _LOG)


def _workspace(
    board: Board, model: Path | None, program: str, parts: dict[str, Path]
) -> contextlib.AbstractContextManager[Workspace]:
    about = hashlib.sha256(_surroundings(board).encode()).hexdigest()[:8]
    return workspace(f"{board.name}-{program.replace('/', '-')}-{about}", firmware_dir(), model, parts)


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

    headers = [firmware_dir() / part for part in ("lib/include", "runtime")]  # go along with the model
    versions = [importlib.metadata.version(name) for name in ("spedge", "apache-tvm", "onnx", "numpy")]
    maker = digest_of([Path(spec.origin).parent, *headers], *versions)
    return stored("models", f"{bundle.hash[:16]}-{target}-{precision}-{maker[:16]}", make)


def footprint(model: Path, target: str, precision: str = "fp32") -> Footprint:
    """What a model that was compiled to a folder takes, by its target's compiler."""
    from spedge.compile import find_target
    from spedge.compile.measure import footprint

    return footprint.footprint(model, find_target(target, precision))


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
            raise BuildError(f"{board.name} needs {tool.program}, which is not installed: {tool.bring}")
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
