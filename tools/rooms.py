"""The rooms of the code and who may know whom: the rules that tests/python/test_structure.py checks, as tables.

    python tools/rooms.py    # writes docs/rooms.svg, and the tables of docs/architecture.md and README.md

A room is a folder. Python modules are named from the package on, C files by their paths.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.sax.saxutils import escape

REPOSITORY = Path(__file__).resolve().parents[1]

# ---------------------------------------------------------------- the map
FOLDERS = {
    "firmware/lib": "libspedge, portable C99: decoders, tokenizers, embedding, frames; `SPEC.md` specifies the link",
    "firmware/runtime": "headers that a compiled model needs on a device: its description, and kernels",
    "firmware/app": "the device application, one for all boards",
    "firmware/port": "what differs between families of chips: start-up, UARTs, a counter, memory",
    "firmware/bench": "programs that measure a part of it alone",
    "boards": "a manifest for each board, with all its flags; its pins and memories; the PlatformIO platform",
    "host/spedge": "the Python package, in rooms",
    "host/native": "the host's fast engine in C, an implementation of its own that tests find equal to `firmware/lib`",
    "host/binding": "the Cython bindings of both, and of the device application, for a board that is this machine",
    "compile": "`spedge.compile`: a bundle or an ONNX file to plain C",
    "training": "`spedge.training`: data sets, models, training, export",
    "tests": "C, Python and emulated tests, fuzzers, benchmarks",
    "tools": "scripts that make what is committed: pictures, tables, assets",
    "examples": "small programs, each of which is run for its picture in the gallery of the docs",
    "docs": "how to use it, and this map",
}

# ---------------------------------------------------------------- the rules
# Each room of the package, and the rooms that it may import from, besides itself. Below is what knows least.
_TO_DEVICE = {"base", "events", "tokens", "model", "link", "boards"}
_TO_SOURCES = {*_TO_DEVICE, "recordings", "cameras", "device"}
_TO_JOBS = {*_TO_SOURCES, "sources"}
ROOMS: dict[str, set[str]] = {
    "base": set(),
    "events": {"base"},
    "tokens": {"base", "events"},
    "recordings": {"base", "events", "tokens"},
    "model": {"base", "events", "tokens"},
    "link": {"base", "events", "tokens"},
    "boards": {"base", "events", "model", "link"},
    "cameras": {"base", "events", "link"},
    "device": _TO_DEVICE,
    "sources": _TO_SOURCES - {"model", "boards"},
    "jobs": _TO_JOBS,
    "bench": {*_TO_JOBS, "jobs"},
    "view": {*_TO_JOBS, "jobs"},
    "training": {"base", "events", "tokens", "recordings", "model"},
    "compile": {"base", "events", "tokens", "model"},
    "cli": {*_TO_JOBS, "jobs", "bench", "view", "training", "compile"},
    # What users import: names from anywhere below the verbs. Nobody inside imports it.
    "face": {*_TO_JOBS, "jobs"},
    "program": {"base", "cli"},  # python -m spedge, and the console script
}
#: The only modules of a room that may import from another one, which the table above does not allow to the room.
ALSO = {
    "spedge.boards.build -> spedge.compile*": "a model is compiled when it is built for a board, and nowhere else",
}
#: Modules that a room may not know, though it may know their room.
NEVER = {
    "spedge.device.* -> spedge.boards.build": "a device speaks to a board that runs; its caller builds",
    "spedge.device.* -> spedge.model.bundle": "a device is told a model's description, not where it lies",
    "spedge.boards.* -> spedge.boards.build": "only verbs build",
}
PROGRAM = {"__main__", "program"}
#: Packages of many seconds or megabytes, and the folders that are about them. Elsewhere only functions import them.
HEAVY = {
    "torch": {"training"},
    "lightning": {"training/fit"},
    "tvm": {"compile"},
    "onnx": {"compile", "training"},
}
#: Packages that a room does not import at all, not in functions either.
STRANGERS = {"training": {"tvm"}, "compile": {"torch", "lightning"}}
#: Packages that only their own folder imports, not in functions elsewhere either.
OWN_ONLY = {"lightning"}
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
    "host/binding/": ("firmware/lib/include/", "firmware/runtime/include/", "host/native/"),
    "host/native/": ("firmware/lib/include/",),
}  # fmt: skip


# ---------------------------------------------------------------- what is drawn of them
def folder_of(room: str) -> Path:
    """Of a room of the package."""
    return REPOSITORY / (room if room in ("training", "compile") else f"host/spedge/{room}")


def sentence_of(room: str) -> str:
    """What a room is: the first line of its package's docstring."""
    docstring = ast.get_docstring(ast.parse((folder_of(room) / "__init__.py").read_text()))
    assert docstring, room
    return docstring.split("\n")[0].rstrip(".")


def drawn() -> dict[str, set[str]]:
    """The rooms that are folders."""
    return {room: known for room, known in ROOMS.items() if room not in ("face", "program")}


def steps(rooms: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """What each room knows, without what it also knows by way of another."""
    return {room: {k for k in known if not any(k in rooms[other] for other in known)} for room, known in rooms.items()}


def height(room: str, rooms: Mapping[str, set[str]]) -> int:
    """Rooms below, one on another."""
    return 1 + max((height(known, rooms) for known in rooms[room]), default=-1)


def map_table() -> str:
    return _table(("folder", "what"), ((f"`{folder}`", what) for folder, what in FOLDERS.items()))


def rooms_table() -> str:
    rows = []
    for room, known in drawn().items():
        names = ", ".join(name for name in ROOMS if name in known)
        if set(drawn()) - {room, "training", "compile", "bench", "view"} <= known:
            names = "all of them"
        rows.append((f"`{room}`", sentence_of(room), names or "nothing"))
    return _table(("room", "what", "may import from"), rows)


def c_table() -> str:
    rows = ((f"`{room}`", ", ".join(f"`{name}`" for name in known) or "nothing") for room, known in C_ROOMS.items())
    return _table(("C in", "may include, besides its own"), rows)


def rules_list() -> str:
    lines = [f"- Only `{edge}`: {why}." for edge, why in ALSO.items()]
    lines += [f"- Never `{edge}`: {why}." for edge, why in NEVER.items()]
    for package, folders in HEAVY.items():
        where = "nowhere else" if package in OWN_ONLY else "elsewhere only inside functions"
        lines.append(f"- `{package}` is imported in {' and '.join(f'`{f}`' for f in sorted(folders))}, {where}.")
    lines += [f"- `{room}` never imports {' or '.join(sorted(names))}." for room, names in STRANGERS.items()]
    return "\n".join(lines)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [names, ["---"] * len(names), *map(list, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# ---------------------------------------------------------------- the picture
WIDTH, BOX, ROW, MARGIN = 880, (104, 34), 74, 24
INK, FAINT, FILL = "#22262e", "#9aa1ad", "#f4f6f9"
ACROSS = {  #: of the width, where a room is not in the middle
    "recordings": 0.2, "link": 0.8, "training": 0.08, "compile": 0.47, "boards": 0.7, "cameras": 0.9, "device": 0.7,
    "sources": 0.7, "jobs": 0.7, "bench": 0.6, "view": 0.8, "cli": 0.42,
}  # fmt: skip


def picture() -> str:
    """The rooms of the package as SVG: what is above may import from what it stands on, and from all below that."""
    rooms = drawn()
    levels = {room: height(room, rooms) for room in rooms}
    top = max(levels.values())
    place = {
        room: (ACROSS.get(room, 0.5) * WIDTH, MARGIN + (top - level) * ROW + BOX[1] / 2)
        for room, level in levels.items()
    }
    tall = 2 * MARGIN + top * ROW + BOX[1]
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {tall}" '
        'font-family="sans-serif" font-size="14">',
        f'<rect width="{WIDTH}" height="{tall}" fill="white"/>',
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 8 4 0 8z" fill="{FAINT}"/></marker></defs>',
    ]
    for room, known in steps(rooms).items():
        for below in sorted(known):
            (x, y), (to_x, to_y) = place[room], place[below]
            up, down = y + BOX[1] / 2, to_y - BOX[1] / 2
            bend = (down - up) / 2
            out.append(
                f'<path d="M{x:g} {up:g}C{x:g} {up + bend:g} {to_x:g} {down - bend:g} {to_x:g} {down:g}" fill="none" '
                f'stroke="{FAINT}" marker-end="url(#tip)"/>'
            )
    for room, (x, y) in place.items():
        out.append(
            f'<g><title>{escape(sentence_of(room))}</title><rect x="{x - BOX[0] / 2:g}" y="{y - BOX[1] / 2:g}" '
            f'width="{BOX[0]}" height="{BOX[1]}" rx="6" fill="{FILL}" stroke="{INK}"/>'
            f'<text x="{x:g}" y="{y + 5:g}" text-anchor="middle" fill="{INK}">{room}</text></g>'
        )
    return "\n".join([*out, "</svg>", ""])


# ---------------------------------------------------------------- files
BLOCKS = {
    "README.md": {"map": map_table},
    "docs/architecture.md": {"map": map_table, "rooms": rooms_table, "c": c_table, "rules": rules_list},
}


def with_blocks(file: str) -> str:
    """A page with its tables written anew, each between <!-- name --> and <!-- /name -->."""
    text = (REPOSITORY / file).read_text()
    for name, make in BLOCKS[file].items():
        before, begin, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        assert begin and end, f"{file} has no block {name}"
        text = f"{before}{begin}{make()}\n{end}{after}"
    return text


def files() -> dict[str, str]:
    """All that is written, by its path."""
    return {**{file: with_blocks(file) for file in BLOCKS}, "docs/rooms.svg": picture()}


if __name__ == "__main__":
    for path, text in files().items():
        (REPOSITORY / path).write_text(text)
