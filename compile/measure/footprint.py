"""What a generated folder takes on its target, by the target's own compiler: flash and stack."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spedge.base.objects import rows_objects
from spedge.base.programs import apt_get

from ..errors import CompileError, MissingCompilerError
from ..targets import Target

SOURCES = ("model.c", "kernels.c", "weights.c")
_CHAIN = 8  # from a kernel of rows/ to the product that it shares out
_APART = 3  # from a kernel to the last of the functions that the headers keep apart
_ENTRIES = ("encode", "step")
# Of a call graph as GCC writes it: a function with its frame, and who calls whom.
_NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*\\n(\d+) bytes \(')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')


@dataclass(frozen=True)
class Footprint:
    """Bytes on the target. `code_bytes` and `constant_bytes` go to flash.

    `stack_bytes` is an upper bound of what `sp_model.encode` takes: its frame and the deepest chain of calls below it;
    `library_calls` names what the compiler made of some of the kernels' code (memset, ...), whose frames come on top.
    """

    compiler: str
    code_bytes: int
    constant_bytes: int
    stack_bytes: int
    library_calls: tuple[str, ...]

    @property
    def flash_bytes(self) -> int:
        return self.code_bytes + self.constant_bytes


def footprint(folder: str | os.PathLike[str], target: Target) -> Footprint:
    """Compile the folder's sources for its target and add up.

    Raises MissingCompilerError when the target's compiler is not installed, CompileError when it refuses the
    sources or a function's frame has no fixed size.
    """
    require_compiler(target)
    with tempfile.TemporaryDirectory(prefix="spedge-") as scratch:
        model, kernels_c, weights_c = (Path(folder) / source for source in SOURCES)
        executor, weights = (_compiled(source, target, Path(scratch)) for source in (model, weights_c))
        calls = ["-fcallgraph-info=su"] if _tells_calls(target.compiler) else []
        kernels = _compiled(kernels_c, target, Path(scratch), calls)
        deepest = _deepest_kernel(Path(scratch, "kernels"), kernels, target)
    rows = _rows(Path(folder), target)
    sizes = [one.sections for one in (executor, kernels, weights, *rows)]
    own = {name for _, _, defined in sizes for name in defined if name[0] != "?"}
    missing = {name[1:] for _, _, defined in sizes for name in defined if name[0] == "?"}
    version = subprocess.run([target.compiler, "-dumpfullversion"], capture_output=True, text=True, check=False)
    return Footprint(
        f"{target.compiler} {version.stdout.strip()}",
        sum(code for code, _, _ in sizes),
        sum(constants for _, constants, _ in sizes),
        _deepest(dict(executor.frames), deepest, [size for one in rows for _, size in one.frames], target),
        tuple(sorted(missing - own)),
    )


def require_compiler(target: Target) -> None:
    """Raises MissingCompilerError, naming the packages, when the target's compiler is not installed."""
    if shutil.which(target.compiler) is None:
        raise MissingCompilerError(
            f"{target.name} needs {target.compiler}, which is not installed: {apt_get(target.packages)}"
        )


def include_flags(folder: Path) -> list[str]:
    """Where the sources of a generated folder find their headers."""
    return [f"-I{folder}", f"-I{folder / 'include'}"]


@dataclass(frozen=True)
class _Compiled:
    """A source's functions with the bytes of their frames, and what `_sections` says of its object."""

    frames: tuple[tuple[str, int], ...]
    sections: tuple[int, int, frozenset[str]]


def _rows(folder: Path, target: Target) -> list[_Compiled]:
    """What is in rows/, if there is such a folder."""
    return [_read(made) for made in rows_objects(folder, [target.compiler, *_options(target)])]


def _options(target: Target) -> list[str]:
    return ["-std=c99", *target.flags, "-fno-pic", "-fstack-usage"]


def _compiled(source: Path, target: Target, out: Path, more: Sequence[str] = ()) -> _Compiled:
    command = [target.compiler, *_options(target), *more, "-c", str(source)]
    made = out / source.with_suffix(".o").name
    done = subprocess.run(
        [*command, *include_flags(source.parent), "-o", str(made)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if "error:" in line), done.stderr.strip())
        raise CompileError(f"{target.compiler} does not compile {source}: {reason}")
    return _read(made)


def _read(made: Path) -> _Compiled:
    code, constants, names = _sections(made)
    return _Compiled(tuple(_frames(made.with_suffix(".su"))), (code, constants, frozenset(names)))


def _frames(path: Path) -> list[tuple[str, int]]:
    """Functions and the bytes of their frames, as -fstack-usage writes them: place, name, bytes and kind."""
    frames = []
    for line in path.read_text().splitlines() if path.is_file() else ():
        place, size, kind = line.split("\t")
        name = place.rsplit(":", 1)[-1]
        if kind == "dynamic":
            raise CompileError(f"the frame of {name} has no fixed size: its stack cannot be bounded")
        frames.append((name, int(size)))
    return frames


def _tells_calls(compiler: str) -> bool:
    """Whether it says which function calls which, as GCC does from version 10 on."""
    done = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    return "Free Software Foundation" in done.stdout


def _deepest_kernel(made: Path, kernels: _Compiled, target: Target) -> int:
    """Bytes of the longest chain of calls from a kernel on, within its own object. made: that, without suffix.

    Of a compiler that does not tell the calls: the largest frames, as if one called the next.
    """
    graph = made.with_suffix(".ci")
    if not graph.is_file():
        largest = sorted((size for _, size in kernels.frames), reverse=True)[:_APART]
        return sum(largest) + len(largest) * target.call_bytes
    frames: dict[str, int] = {}
    calls: dict[str, list[str]] = {}
    for line in graph.read_text().splitlines():
        if node := _NODE.match(line):
            frames[node[1]] = int(node[2])
        elif edge := _EDGE.match(line):
            calls.setdefault(edge[1], []).append(edge[2])

    def below(name: str) -> int:
        called = {other for other in calls.get(name, ()) if other in frames}
        return frames[name] + max((target.call_bytes + below(other) for other in called), default=0)

    return max(map(below, frames), default=0)


def _deepest(executor: dict[str, int], kernel: int, rows: list[int], target: Target) -> int:
    """The longest chain of calls: encode, in a stateful model step, one of the executor's others, a kernel with what it
    calls, for Linux what is in rows/, whose sizes alone are known here.
    executor: frames by function, of those that the compiler has not made part of others."""
    others = [size for name, size in executor.items() if name not in _ENTRIES]
    chain = [executor[name] for name in _ENTRIES if name in executor] + [
        max(others, default=0),
        kernel,
        *sorted(rows, reverse=True)[:_CHAIN],
    ]
    return sum(chain) + len(chain) * target.call_bytes


def _sections(path: Path) -> tuple[int, int, set[str]]:
    """Bytes of code and of constants of an object, and its symbols; undefined ones with a question mark in front."""
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    code = constants = 0
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        for section in elf.iter_sections():
            if section["sh_flags"] & 2 and section.name != ".eh_frame":  # SHF_ALLOC
                executable = bool(section["sh_flags"] & 4)
                code += section["sh_size"] if executable else 0
                constants += 0 if executable else section["sh_size"]
        table = elf.get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        names = {f"{'?' if s['st_shndx'] == 'SHN_UNDEF' else ''}{s.name}" for s in table.iter_symbols() if s.name}
    return code, constants, names
