"""Who may know whom, as docs/architecture.md draws it: the rules are the tables of tools/rooms.py, by folder.

A breach is written "spedge.a.b -> spedge.c.d", or "firmware/app/x.c -> firmware/lib/src/y.h". BREACHES names those that
stand, each with its reason; one that is mended has to leave the list, so that it can only shrink.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatch, fnmatchcase
from pathlib import Path

import pytest

from tools import rooms
from tools.rooms import ALSO, C_ROOMS, HEAVY, NEVER, OWN_ONLY, PROGRAM, ROOMS, STRANGERS

REPOSITORY = Path(__file__).resolve().parents[2]
LINES = 500

# ---------------------------------------------------------------- the breaches that stand
BREACHES: dict[str, str] = {}
CIRCLES: dict[frozenset[str], str] = {}
LONG: dict[str, str] = {}


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
    """What a module imports, wherever in it: (module, name), with name "" for the module as a whole.

    In functions, and for types only, too: a name is known there. What is imported by a name in a string is that name;
    where the name is computed, any module that a string there names.
    """
    package = module.split(".") if MODULES[module].name == "__init__.py" else module.split(".")[:-1]
    yield from ((name, "") for name in named_in_strings(tree, package))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inside = f"{source}.{alias.name}"
                yield (inside, "") if inside in MODULES else (source, alias.name)


def named_in_strings(tree: ast.AST, package: list[str]) -> Iterator[str]:
    """What import_module, __import__ and find_spec get. Raises AssertionError when that cannot be told."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and is_import(node.func)]
    given = [call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)]
    for name in map(str, given):
        above = len(name) - len(name.lstrip("."))
        yield ".".join([*package[: len(package) - above + 1], name.lstrip(".")]) if above else name
    if any("find_spec" not in ast.unparse(call.func) for call in calls if not isinstance(call.args[0], ast.Constant)):
        strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        words = {text for text in strings if isinstance(text, str)}
        found = (words | {".".join([*package, word]) for word in words}) & {*MODULES, *HEAVY}
        assert found, f"what {'.'.join(package)} imports cannot be told"
        yield from found


def is_import(function: ast.expr) -> bool:
    return ast.unparse(function).split(".")[-1] in ("import_module", "__import__", "find_spec")


def is_extension(source: str, name: str) -> bool:
    """spedge._events and the like: compiled modules, which lie beside the face but are no part of it."""
    return bool(re.match(r"spedge\._[a-z]+$", f"{source}.{name}" if source == "spedge" else source))


def sources_of(module: str, tree: ast.AST) -> set[str]:
    """The modules of the package that a module imports; "spedge" is the package's face."""
    return {
        source
        for source, name in imports_of(module, tree)
        if source.split(".")[0] == "spedge" and not is_extension(source, name) and source != module
    }


GRAPH = {module: sources_of(module, tree) for module, tree in TREES.items()}


def room_of(module: str) -> str:
    """The room that a module stands in: the folder below spedge; "face" or "program" for files beside the folders."""
    parts = module.split(".")
    if len(parts) > 1 and (len(parts) > 2 or MODULES[module].name == "__init__.py"):
        return parts[1]
    return "program" if parts[-1] in PROGRAM else "face"


def breaches_of(module: str, tree: ast.AST) -> set[str]:
    """Imports against ROOMS, ALSO and NEVER; and of heavy packages and strangers."""
    found = set()
    room = room_of(module)
    for source in sources_of(module, tree):
        edge = f"{module} -> {source}"
        allowed = source in MODULES and (room_of(source) == room or room_of(source) in ROOMS[room])
        allowed = allowed or any(fnmatchcase(edge, pattern) for pattern in ALSO)
        if not allowed or any(fnmatchcase(edge, pattern) for pattern in NEVER):
            found.add(edge)
    top = set(outside_packages(top_level(tree)))
    folder = MODULES[module].relative_to(REPOSITORY).parent.as_posix() + "/"
    for name in set(outside_packages(ast.walk(tree))):
        own = any(folder.startswith(f"{own}/") for own in HEAVY.get(name, ()))
        misplaced = name in HEAVY and not own and (name in top or name in OWN_ONLY)
        if misplaced or name in STRANGERS.get(room, ()):
            found.add(f"{module} -> {name}")
    return found


def outside_packages(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The packages that these import, also by a name in a string; asking whether there is one imports nothing."""
    for node in nodes:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        if isinstance(node, ast.Call) and is_import(node.func) and "find_spec" not in ast.unparse(node.func):
            names = [str(node.args[0].value)] if isinstance(node.args[0], ast.Constant) else []
        yield from (name.split(".")[0] for name in names)


def top_level(tree: ast.AST) -> Iterator[ast.AST]:
    """What is run when a module is imported: all but functions, and what is for types only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).split(".")[-1] == "TYPE_CHECKING":
            for other in node.orelse:
                yield other
                yield from top_level(other)
            continue
        yield node
        yield from top_level(node)


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
        for name in included(text):
            beside = (REPOSITORY / path).parent / name
            if beside.is_file():
                edges[path].add(beside.resolve().relative_to(REPOSITORY).as_posix())
            else:  # by the include path: the nearest of that name, which is one of its own room if there is one
                fits = [file for file in files if f"/{file}".endswith(f"/{name}")]
                own = [file for file in fits if c_room(file) == c_room(path)]
                edges[path] |= set(own or fits)
    return edges


def included(text: str) -> list[str]:
    """The names that a C or Cython file includes: those in quotes, and of those in brackets the library's own."""
    quoted = re.findall(r'^\s*(?:#\s*include\s*|cdef extern from\s+|include\s+)"([^"]+)"', text, re.MULTILINE)
    angled = re.findall(r"^\s*#\s*include\s*<(spedge/[^>]+)>", text, re.MULTILINE)
    computed = re.findall(r"^\s*#\s*include\s+(\w+)", text, re.MULTILINE)
    assert not computed, f"what is included has to be seen: {computed}"
    return quoted + angled


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


def test_what_stands_has_a_reason() -> None:
    assert all(map(str.strip, (*BREACHES.values(), *CIRCLES.values(), *LONG.values(), *ALSO.values(), *NEVER.values())))


def test_rooms_are_all_there() -> None:
    assert set(ROOMS) - {"face", "program"} == {room_of(module) for module in MODULES} - {"face", "program"}
    for room, known in ROOMS.items():
        assert known <= set(ROOMS), room
    assert not circles(ROOMS)


def test_python_rooms() -> None:
    found = set().union(*(breaches_of(module, tree) for module, tree in TREES.items()))
    check_breaches(found, {k: v for k, v in BREACHES.items() if k.startswith("spedge")})


def test_c_rooms() -> None:
    check_breaches(include_breaches(), {k: v for k, v in BREACHES.items() if not k.startswith("spedge")})


def test_no_circle_of_imports() -> None:
    """Those inside functions count: a circle that is not met at import is one for the reader all the same."""
    assert circles(GRAPH) == set(CIRCLES)


def test_no_circle_of_includes() -> None:
    assert not circles(includes())


def test_files_fit_their_topic() -> None:
    """A file of more than 500 lines is two; generated tables say so in their first line."""
    suffixes = {".py", ".pyi", ".pyx", ".pxd", ".pxi", ".c", ".h", ".inc", ".S"}
    folders = ("host", "training", "compile", "firmware", "tests", "tools", "boards", "docs", "examples")
    long = {
        path.relative_to(REPOSITORY).as_posix()
        for folder in folders
        for path in (REPOSITORY / folder).rglob("*")
        if path.suffix in suffixes and path.is_file() and not {"build", ".pio"} & set(path.parts)
        if len(lines := path.read_text().splitlines()) > LINES
        if "generated by" not in lines[0].lower()
    }
    assert long == set(LONG)


def test_errors_of_devices_say_their_kind() -> None:
    """DeviceGone, DeviceRefused or DeviceTimeout: whoever catches one has to know how to go on."""
    calls = {
        f"{module}:{node.lineno}"
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "DeviceError"
    }
    assert calls == set()


def test_the_map_is_the_code() -> None:
    """docs/architecture.md, README.md and the picture are drawn from the rules, and name every folder."""
    for path, text in rooms.files().items():
        assert (REPOSITORY / path).read_text() == text, f"{path}: run python tools/rooms.py"
    for folder in rooms.FOLDERS:
        assert (REPOSITORY / folder).is_dir(), folder
    code = {".py", ".c", ".h", ".pyx", ".md", ".json"}
    ours = {path.relative_to(REPOSITORY) for path in REPOSITORY.glob("*/*") if not path.parts[-2].startswith(".")}
    made = [line.strip("/") for line in (REPOSITORY / ".gitignore").read_text().split()]
    top = {path.parts[0] for path in ours if path.suffix in code}
    top = {name for name in top if not any(fnmatch(name, pattern) for pattern in [*made, "node_modules"])}
    named = {Path(folder).parts[0] for folder in rooms.FOLDERS}
    assert top <= named, "the map names every folder of the repository"
    assert set(C_ROOMS) >= {f"{folder}/" for folder in rooms.FOLDERS if folder.startswith("firmware/")}


def test_all_spellings_of_an_import_are_seen() -> None:
    text = """
import spedge.cli
import spedge.jobs.run as job
if TYPE_CHECKING:
    from spedge.view.picture import picture
def f():
    from spedge import Device, _frames
    from . import arrays
    from ..base import errors
    class Inner:
        import spedge.boards.build
    importlib.import_module("spedge.device.open")
    import_module(".evt2", __package__)
    __import__("spedge.training.train")
    importlib.util.find_spec("spedge.compile")
"""
    found = set(imports_of("spedge.events.words", ast.parse(text)))
    whole = {
        "spedge.cli", "spedge.jobs.run", "spedge.events.arrays", "spedge.base.errors", "spedge.boards.build",
        "spedge.device.open", "spedge.events.evt2", "spedge.training.train", "spedge.compile",
    }  # fmt: skip
    names = {("spedge.view.picture", "picture"), ("spedge", "Device"), ("spedge", "_frames")}
    assert found == {(module, "") for module in whole} | names
    assert is_extension("spedge", "_frames") and is_extension("spedge._frames", "encode_frame")
    assert not is_extension("spedge", "Device") and not is_extension("spedge", "__version__")


def test_a_computed_import_is_any_module_that_is_named_there() -> None:
    text = 'KINDS = {"a": "evt2", "b": "spedge.cli", "c": "nothing"}\ndef load(name):\n    return import_module(name)\n'
    found = set(imports_of("spedge.events.words", ast.parse(text)))
    assert found == {("spedge.events.evt2", ""), ("spedge.cli", "")}
    with pytest.raises(AssertionError, match="cannot be told"):
        set(imports_of("spedge.events.words", ast.parse("importlib.import_module(given)")))
    assert "spedge.training.data.gestures" in GRAPH["spedge.training.data.registry"]
    assert {"spedge.tokens.tokenizer", "spedge.decoders"} <= GRAPH["spedge"]


def test_what_loads_a_package_is_told_from_what_may_later() -> None:
    text = """
import torch
if TYPE_CHECKING:
    import onnx
else:
    import lightning
class Model:
    import tvm.ir
def f():
    import numpy
lazy = lambda: __import__("h5py")
loaded = importlib.import_module("scipy.signal")
asked = importlib.util.find_spec("matplotlib")
"""
    tree = ast.parse(text)
    assert set(outside_packages(top_level(tree))) == {"torch", "lightning", "tvm", "scipy"}
    every = {"torch", "lightning", "tvm", "scipy", "onnx", "numpy", "h5py"}
    assert set(outside_packages(ast.walk(tree))) == every


def test_all_spellings_of_an_include_are_seen() -> None:
    text = """#include "port.h"
  #  include  "../lib/src/inline.h"
#include <spedge/decode.h>
#include <stdint.h>
cdef extern from "spedge/frame.h" nogil:
include "columns.pxi"
"""
    wanted = ["port.h", "../lib/src/inline.h", "spedge/frame.h", "columns.pxi", "spedge/decode.h"]
    assert included(text) == wanted
    with pytest.raises(AssertionError, match="SP_MODEL"):
        included("#include SP_MODEL\n")


def test_circles_and_lists() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a", "e"}, "e": set()}) == {frozenset("abc")}
    assert circles({"a": {"a"}, "b": set()}) == {frozenset("a")}
    with pytest.raises(AssertionError, match="who may know whom"):
        check_breaches({"spedge.a -> spedge.b"}, {})
    with pytest.raises(AssertionError, match="mended"):
        check_breaches(set(), {"spedge.a -> spedge.b": "a reason"})


@pytest.mark.parametrize(
    ("module", "text", "breach"),
    [
        ("spedge.events.words", "def f():\n    import spedge.device", "spedge.events.words -> spedge.device"),
        ("spedge.jobs.run", "from spedge.cli.common import progress", "spedge.jobs.run -> spedge.cli.common"),
        ("spedge.jobs.run", "import spedge.training.train", "spedge.jobs.run -> spedge.training.train"),
        ("spedge.jobs.run", "from spedge import compile", "spedge.jobs.run -> spedge.compile"),
        ("spedge.boards.launch", "def f():\n    from spedge import compile", "spedge.boards.launch -> spedge.compile"),
        (
            "spedge.boards.launch",
            "from spedge.boards.build import build",
            "spedge.boards.launch -> spedge.boards.build",
        ),
        ("spedge.device.client", "import spedge.model.bundle", "spedge.device.client -> spedge.model.bundle"),
        ("spedge.device.client", "import spedge.boards.build", "spedge.device.client -> spedge.boards.build"),
        ("spedge.training.train", "import spedge.compile.driver", "spedge.training.train -> spedge.compile.driver"),
        ("spedge.compile.driver", "from ..training import train", "spedge.compile.driver -> spedge.training.train"),
        ("spedge.compile.driver", "import spedge.boards.manifest", "spedge.compile.driver -> spedge.boards.manifest"),
        ("spedge.jobs.check", "import spedge.view.picture", "spedge.jobs.check -> spedge.view.picture"),
        ("spedge.tokens.batch", "from spedge import Tokenizer", "spedge.tokens.batch -> spedge"),
        ("spedge.tokens.batch", "from spedge import evt2", "spedge.tokens.batch -> spedge.evt2"),
        ("spedge.training.train", "def f():\n    import tvm", "spedge.training.train -> tvm"),
        ("spedge.compile.driver", "def f():\n    import torch", "spedge.compile.driver -> torch"),
        ("spedge.training.train", "def f():\n    import lightning", "spedge.training.train -> lightning"),
        ("spedge.jobs.run", "import onnx", "spedge.jobs.run -> onnx"),
    ],
)
def test_each_rule_is_broken_once(module: str, text: str, breach: str) -> None:
    """One import more, and the rule is found broken, by nothing but that."""
    source = MODULES[module].read_text()
    assert breaches_of(module, ast.parse(f"{source}\n{text}")) - breaches_of(module, ast.parse(source)) == {breach}
