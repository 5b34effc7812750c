"""Who may know whom, as docs/architecture.md draws it: the rules are the tables below, by folder.

A breach is written "spedge.a.b -> spedge.c.d", or "firmware/app/x.c -> firmware/lib/src/y.h". BREACHES names those that
stand, each with its reason; one that is mended has to leave the list, so that it can only shrink.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LINES = 500

# ---------------------------------------------------------------- the rules
# Each room of the package, and the rooms that it may import from, besides itself. Below is what knows least.
ROOMS: dict[str, set[str]] = {
    "base": set(),
    "events": {"base"},
    "tokens": {"base", "events"},
    "recordings": {"base", "events", "tokens"},
    "model": {"base", "events", "tokens"},
    "link": {"base", "events", "tokens"},
    "boards": {"base", "events", "model", "link"},
    "cameras": {"base", "events", "link"},
    "device": {"base", "events", "tokens", "model", "link", "boards"},
    "sources": {"base", "events", "tokens", "recordings", "link", "cameras", "device"},
    "jobs": {
        "base", "events", "tokens", "recordings", "model", "link", "boards", "cameras", "device", "sources",
    },
    "bench": {
        "base", "events", "tokens", "recordings", "model", "link", "boards", "cameras", "device", "sources", "jobs",
    },
    "view": {"base", "events", "tokens"},
    "cli": {
        "base", "events", "tokens", "recordings", "model", "link", "boards", "cameras", "device", "sources", "jobs",
        "bench", "view", "training", "compile",
    },
    "training": {"base", "events", "tokens", "recordings", "model"},
    "compile": {"base", "events", "tokens", "model"},
    # What users import: names from anywhere below the verbs.
    "face": {
        "base", "events", "tokens", "recordings", "model", "link", "boards", "cameras", "device", "sources", "jobs",
    },
    "program": {"base", "cli"},  # python -m spedge, and the console script
}  # fmt: skip
# The only modules of a room that may import from another one, which the table above does not allow to the room.
ALSO = {
    "spedge.boards.build -> spedge.compile*": "a model is compiled when it is built for a board, and nowhere else",
}
# Modules that a room may not know, though it may know their room.
NEVER = {
    "spedge.device.* -> spedge.boards.build": "a device speaks to a board that runs; its caller builds",
    "spedge.device.* -> spedge.model.bundle": "a device is told a model's description, not where it lies",
    "spedge.boards.* -> spedge.boards.build": "only verbs build",
}
PROGRAM = {"__main__", "program"}
# Packages of many seconds or megabytes, and the folders that are about them. Elsewhere only functions import them.
HEAVY = {
    "torch": {"training"},
    "lightning": {"training/fit"},
    "tvm": {"compile"},
    "onnx": {"compile", "training"},
}
# Rooms of the C code, and whose headers each may include, besides its own.
C_ROOMS: dict[str, tuple[str, ...]] = {
    "firmware/lib/": (),
    "firmware/runtime/": ("firmware/lib/include/",),
    "firmware/app/": ("firmware/lib/include/", "firmware/runtime/include/", "firmware/port/port.h"),
    "firmware/port/": ("boards/",),
    "boards/": ("firmware/port/",),
    "firmware/bench/": (
        "firmware/lib/include/", "firmware/runtime/include/", "firmware/app/", "firmware/port/port.h",
    ),
    "host/binding/": ("firmware/lib/include/", "host/native/"),
    "host/native/": ("firmware/lib/include/",),
}  # fmt: skip

# ---------------------------------------------------------------- the breaches that stand
BREACHES: dict[str, str] = {
    # to be mended
    "spedge.bench.model -> spedge.compile*": "",
    "spedge.jobs.demo -> spedge.view.picture": "",
    "host/binding/columns.h -> firmware/lib/src/inline.h": "",
}
CIRCLES: dict[frozenset[str], str] = {}
LONG: dict[str, str] = {
    "host/binding/host_tokenizer.c": "",
    "tests/python/test_link.py": "",
    "tests/python/test_protocol_device.py": "",
}


# ---------------------------------------------------------------- Python: what imports what
def python_modules() -> dict[str, Path]:
    """Every module of the package by its name."""
    folders = {"spedge": "host/spedge", "spedge.training": "training", "spedge.compile": "compile"}
    found = {}
    for package, folder in folders.items():
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            parts = path.relative_to(REPOSITORY / folder).with_suffix("").parts
            found[".".join((package, *(part for part in parts if part != "__init__")))] = path
    return found


MODULES = python_modules()
TREES = {module: ast.parse(path.read_text()) for module, path in MODULES.items()}


def imports_of(module: str, tree: ast.AST) -> Iterator[tuple[str, str]]:
    """What a module imports, wherever in it: (module, name), with name "" for the module as a whole."""
    package = module.split(".") if MODULES[module].name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inside = f"{source}.{alias.name}"
                yield (inside, "") if inside in MODULES else (source, alias.name)


def is_extension(source: str, name: str) -> bool:
    """spedge._native and the like: compiled modules, which lie beside the face but are no part of it."""
    return bool(re.match(r"spedge\._[a-z]+$", f"{source}.{name}" if source == "spedge" else source))


def graph() -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports; "spedge" is the package's face."""
    edges: dict[str, set[str]] = {}
    for module, tree in TREES.items():
        found = imports_of(module, tree)
        edges[module] = {
            source
            for source, name in found
            if source.split(".")[0] == "spedge" and not is_extension(source, name) and source != module
        }
    return edges


GRAPH = graph()


def room_of(module: str) -> str:
    """The room that a module stands in: the folder below spedge; "face" or "program" for files beside the folders."""
    parts = module.split(".")
    if len(parts) > 1 and (len(parts) > 2 or MODULES[module].name == "__init__.py"):
        return parts[1]
    return "program" if parts[-1] in PROGRAM else "face"


def import_breaches() -> set[str]:
    """Imports against ROOMS, ALSO and NEVER."""
    found = set()
    for module, sources in GRAPH.items():
        room = room_of(module)
        for source in sources:
            edge = f"{module} -> {source}"
            known = source in MODULES
            allowed = known and (room_of(source) == room or room_of(source) in ROOMS[room])
            allowed = allowed or any(fnmatchcase(edge, pattern) for pattern in ALSO)
            if not allowed or any(fnmatchcase(edge, pattern) for pattern in NEVER):
                found.add(edge)
    return found


def heavy_breaches() -> set[str]:
    """Imports of a heavy package at a module's top level, outside the folders that are about it."""
    found = set()
    for module, tree in TREES.items():
        lazy = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or is_for_types_only(node)
            for inner in ast.walk(node)
        }
        folder = MODULES[module].relative_to(REPOSITORY).parent.as_posix() + "/"
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in names:
                heavy = name.split(".")[0]
                own = any(folder.startswith(f"{own}/") for own in HEAVY.get(heavy, ()))
                if heavy in HEAVY and not own and (id(node) not in lazy or heavy == "lightning"):
                    found.add(f"{module} -> {heavy}")
    return found


def is_for_types_only(node: ast.AST) -> bool:
    """`if TYPE_CHECKING:`, whose imports load nothing. (Who knows whom counts them: a name is known there.)"""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def circles(edges: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """The largest sets in which each reaches every other."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for target in edges.get(waiting.pop(), ()):
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        return seen

    reach = {name: reached(name) for name in edges}
    return {
        frozenset(other for other in targets if name in reach.get(other, ()))
        for name, targets in reach.items()
        if name in targets
    }


# ---------------------------------------------------------------- C: what includes what
def c_files() -> dict[str, str]:
    """The text of each file of the C rooms, and of the Cython beside them, by its path in the repository."""
    paths = [path for room in C_ROOMS for path in (REPOSITORY / room).rglob("*")]
    return {
        path.relative_to(REPOSITORY).as_posix(): path.read_text()
        for path in sorted(paths)
        if path.suffix in {".c", ".h", ".inc", ".S", ".pyx", ".pxd"}
    }


def includes() -> dict[str, set[str]]:
    """File -> the files of the repository that it includes."""
    files = c_files()
    edges: dict[str, set[str]] = {}
    for path, text in files.items():
        edges[path] = set()
        for name in re.findall(r'^\s*(?:#\s*include|cdef extern from)\s+"([^"]+)"', text, re.MULTILINE):
            beside = (REPOSITORY / path).parent / name
            if beside.is_file():
                edges[path].add(beside.resolve().relative_to(REPOSITORY).as_posix())
            else:  # by the include path: the nearest of that name, which is one of its own room if there is one
                fits = [file for file in files if f"/{file}".endswith(f"/{name}")]
                own = [file for file in fits if c_room(file) == c_room(path)]
                edges[path] |= set(own or fits)
    return edges


def c_room(path: str) -> str:
    return next(room for room in C_ROOMS if path.startswith(room))


def include_breaches() -> set[str]:
    """Includes against C_ROOMS."""
    return {
        f"{path} -> {header}"
        for path, headers in includes().items()
        for header in headers
        if not header.startswith((c_room(path), *C_ROOMS[c_room(path)]))
    }


# ---------------------------------------------------------------- the tests
def check_breaches(found: set[str], listed: Mapping[str, str]) -> None:
    """No breach but the listed ones, and every listed one still there."""
    unlisted = sorted(breach for breach in found if not any(fnmatchcase(breach, pattern) for pattern in listed))
    assert not unlisted, "who may know whom is in docs/architecture.md"
    mended = sorted(pattern for pattern in listed if not any(fnmatchcase(breach, pattern) for breach in found))
    assert not mended, "mended: take it out of the list"


def test_rooms_are_all_there() -> None:
    assert set(ROOMS) - {"face", "program"} == {room_of(module) for module in MODULES} - {"face", "program"}
    for room, known in ROOMS.items():
        assert known <= set(ROOMS), room
    assert not circles(ROOMS)


def test_python_rooms() -> None:
    check_breaches(import_breaches() | heavy_breaches(), {k: v for k, v in BREACHES.items() if k.startswith("spedge")})


def test_c_rooms() -> None:
    check_breaches(include_breaches(), {k: v for k, v in BREACHES.items() if not k.startswith("spedge")})


def test_no_circle_of_imports() -> None:
    """Those inside functions count: a circle that is not met at import is one for the reader all the same."""
    assert circles(GRAPH) == set(CIRCLES)


def test_no_circle_of_includes() -> None:
    assert not circles(includes())


def test_files_fit_their_topic() -> None:
    """A file of more than 500 lines is two; generated tables say so in their first line."""
    suffixes = {".py", ".pyx", ".pxd", ".c", ".h"}
    folders = ("host", "training", "compile", "firmware", "tests", "tools", "boards")
    long = {
        path.relative_to(REPOSITORY).as_posix()
        for folder in folders
        for path in (REPOSITORY / folder).rglob("*")
        if path.suffix in suffixes and path.is_file() and len(lines := path.read_text().splitlines()) > LINES
        if "enerated" not in lines[0]
    }
    assert long == set(LONG)


def test_the_rules_find_breaches() -> None:
    """The finders on inputs of their own: an import of each spelling, a circle of three, one of one."""
    text = """
import spedge.cli
def f():
    from spedge import Device, _native
    from . import arrays
    from ..base import errors
"""
    found = set(imports_of("spedge.events.words", ast.parse(text)))
    assert found == {
        ("spedge.cli", ""), ("spedge", "Device"), ("spedge", "_native"), ("spedge.events.arrays", ""),
        ("spedge.base.errors", ""),
    }  # fmt: skip
    assert is_extension("spedge", "_native") and is_extension("spedge._native", "crc32")
    assert not is_extension("spedge", "Device") and not is_extension("spedge", "__version__")
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a", "e"}, "e": set()}) == {frozenset("abc")}
    assert circles({"a": {"a"}, "b": set()}) == {frozenset("a")}
    with pytest.raises(AssertionError, match="who may know whom"):
        check_breaches({"spedge.a -> spedge.b"}, {})
    with pytest.raises(AssertionError, match="mended"):
        check_breaches(set(), {"spedge.a -> spedge.b": "a reason"})
