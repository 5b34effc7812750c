"""What this machine has of all that spedge can use, and the commands that bring what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from spedge.base.errors import UsageError
from spedge.base.paths import cache_dir
from spedge.base.programs import FFMPEG, Tool
from spedge.boards.flash.ways import WAYS, ways_of
from spedge.boards.manifest import Board, list_boards, load_board
from spedge.boards.ports import list_ports, usb_ids
from spedge.link.udev import UDEV_FILE, WRITE_RULES, group_that_may, joining, udev_rules
from spedge.sources.usb import UDEV_PROGRAM, list_cameras

State = Literal["good", "optional", "wrong"]
ROOM_BYTES = 500 << 20  #: a firmware with a model of the paper's base size takes about as much while it is built
_BUILDS = ("firmware", "compile")  # extras that a board with a model is built by
_DEVELOPERS = ("dev", "docs", "fuzz")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. state: there ("good"), missing and not needed ("optional"), or needed and missing,
    or there and not to be used ("wrong"). found: what is there, or what is wrong. mend: the command that mends it."""

    topic: str
    name: str
    state: State
    found: str
    mend: str | None = None


@dataclass(frozen=True)
class Diagnosis:
    """All that was looked at, in order of the topics."""

    findings: tuple[Finding, ...]

    @property
    def wrong(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.state == "wrong")


def examine(names: Sequence[str] = ()) -> Diagnosis:
    """Look at this machine; nothing is changed, built, opened or asked of a network.

    names: boards that are needed; all that it takes to build, run or write them is needed, too. Without them a board
    that can be built here is, where the extra `firmware` is installed. Raises UsageError for a board that there is not.
    """
    needed = [load_board(name) for name in names]
    boards = list_boards()
    ready = [board.name for board in boards if not board.missing and board.runs != "serial"]
    if not needed and not ready and _version("platformio"):
        needed = boards[:1]
    extras = _BUILDS if names else ()
    parts = (
        _packages(extras), _tools(boards, needed), _ready(boards, ready), _writers(boards, needed), _ports(), _rules(),
        _cameras(), [_program("videos", FFMPEG)], _room(),
    )  # fmt: skip
    return Diagnosis(tuple(finding for part in parts for finding in part))


# ---------------------------------------------------------------- packages


def _packages(needed: Collection[str]) -> Iterator[Finding]:
    yield Finding("versions", "Python", "good", f"{platform.python_version()}, {sys.executable}")
    about = importlib.metadata.metadata("spedge")
    groups: dict[str, list[Requirement]] = {"": []}
    groups |= {name: [] for name in about.get_all("Provides-Extra") or () if name not in _DEVELOPERS}
    for line in about.get_all("Requires-Dist") or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if requirement.name == "spedge":  # an extra of others
            continue
        if marker is None or marker.evaluate({"extra": ""}):
            groups[""].append(requirement)
            continue
        for name in groups:
            if marker.evaluate({"extra": name}):
                groups[name].append(requirement)
    yield Finding("versions", "spedge", "good", importlib.metadata.version("spedge"))
    core = groups.pop("")
    yield _group("versions", "libraries", core, True)
    for name, own in groups.items():
        if own:
            yield _group("extras", name, own, name in needed, f"pip install 'spedge[{name}]'")


def _group(topic: str, name: str, requirements: Sequence[Requirement], needed: bool, mend: str = "") -> Finding:
    """Packages that come together, which `mend` brings. One of a version that is not taken is always wrong."""
    versions = {requirement.name: _version(requirement.name) for requirement in requirements}
    missing = [package for package, version in versions.items() if version is None]
    unfit = [
        f"{r.name} {versions[r.name]} is installed, and {r.name}{r.specifier} is taken"
        for r in requirements
        if (version := versions[r.name]) and not r.specifier.contains(version, prereleases=True)
    ]
    mend = mend or f"pip install {' '.join(shlex.quote(f'{r.name}{r.specifier}') for r in requirements)}"
    if unfit:
        return Finding(topic, name, "wrong", "; ".join(unfit), mend)
    if missing:
        return Finding(topic, name, "wrong" if needed else "optional", f"without {', '.join(missing)}", mend)
    return Finding(topic, name, "good", ", ".join(f"{package} {version}" for package, version in versions.items()))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


# ---------------------------------------------------------------- programs


def _tools(boards: Sequence[Board], needed: Sequence[Board]) -> Iterator[Finding]:
    """Compilers first, then emulators."""
    users: dict[Tool, list[str]] = {}
    for board in boards:
        for tool in board.requires:
            if tool.present or tool in board.missing:
                users.setdefault(tool, []).append(board.name)
    emulators = {board.emulator for board in boards}
    wanted = {tool for board in needed for tool in board.missing}
    for tool in sorted(users, key=lambda tool: tool.program in emulators):
        topic = "emulators" if tool.program in emulators else "compilers"
        yield _program(topic, tool, f"for {', '.join(users[tool])}", tool in wanted)


def _program(topic: str, tool: Tool, use: str = "", needed: bool = False) -> Finding:
    if not tool.present:
        return Finding(topic, tool.program, "wrong" if needed else "optional", " ".join(["missing", use]), tool.bring)
    return Finding(topic, tool.program, "good", ", ".join(filter(None, [_said_version(tool.program), use])))


def _said_version(program: str) -> str:
    """The first line of what it says; ffmpeg does not know --version."""
    option = "-version" if program == FFMPEG.program else "--version"
    try:
        said = subprocess.run([program, option], capture_output=True, text=True, errors="replace", timeout=10)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not say its version ({error})"
    return next(iter(said.stdout.splitlines()), "").partition(" Copyright")[0]


def _ready(boards: Sequence[Board], ready: Sequence[str]) -> Iterator[Finding]:
    if ready:
        yield Finding("boards", "ready", "good", ", ".join(ready))
    else:
        yield Finding("boards", "ready", "optional", "no board can be built and run here", boards[0].bring)


def _writers(boards: Sequence[Board], needed: Sequence[Board]) -> Iterator[Finding]:
    """What `spedge flash` writes boards by. One way is enough for a board."""
    wanted = {ways_of(b)[0] for b in needed if b.flash and not any(way.need.present for way in ways_of(b))}
    for way in WAYS.values():
        used = [board.name for board in boards if way in ways_of(board)]
        if not used:
            continue
        if way.need.present:
            yield Finding("flashing", way.name, "good", f"{way.need.name} for {', '.join(used)}")
        else:
            state: State = "wrong" if way in wanted else "optional"
            yield Finding("flashing", way.name, state, f"without {way.need.name} for {', '.join(used)}", way.need.bring)


# ---------------------------------------------------------------- ports and cameras


def _ports() -> Iterator[Finding]:
    for port in list_ports():
        path = Path(port.device)
        what = " ".join(filter(None, [port.usb_id, port.description, " or ".join(port.boards)]))
        if sys.platform == "win32" or os.access(path, os.R_OK | os.W_OK):
            yield Finding("ports", port.device, "good", what)
        else:
            state: State = "wrong" if port.usb_id else "optional"  # else nobody knows whether there is anything
            yield Finding("ports", port.device, state, f"may not be opened by you: {what}", _right_to(path))


def _right_to(path: Path) -> str:
    """The command that lets the user open a port."""
    group = group_that_may(path)
    if group is None:
        return WRITE_RULES
    import grp

    joined = os.environ.get("USER", "") in grp.getgrnam(group).gr_mem
    return f"newgrp {group}" if joined else joining(group)  # joined since the log-in


def _rules() -> Iterator[Finding]:
    if sys.platform != "linux":
        return
    try:
        same = UDEV_FILE.read_text() == udev_rules(usb_ids())
    except OSError:
        yield Finding("ports", "udev rules", "optional", f"no {UDEV_FILE}", WRITE_RULES)
        return
    if same:
        yield Finding("ports", "udev rules", "good", str(UDEV_FILE))
    else:
        yield Finding("ports", "udev rules", "optional", f"{UDEV_FILE} is of another version of spedge", WRITE_RULES)


def _cameras() -> Iterator[Finding]:
    try:
        cameras = list_cameras()
    except UsageError:
        return  # what the extra `cameras` lacks has been said
    for camera in cameras:
        name = f"{camera.name} {camera.serial or ''}".strip()
        if camera.problem is None:
            yield Finding("cameras", name, "good", "can be opened")
        else:
            mend = f"sudo {Path(sys.executable).with_name(UDEV_PROGRAM)}"
            yield Finding("cameras", name, "wrong", f"cannot be opened: {camera.problem}", mend)
    if not cameras:
        yield Finding("cameras", "USB", "good", "none is plugged in")


# ---------------------------------------------------------------- room


def _room() -> Iterator[Finding]:
    try:
        cache = cache_dir()
        with tempfile.TemporaryFile(dir=cache):
            pass
    except (UsageError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        yield Finding("room", "cache", "wrong", f"cannot be written to: {why}", "export SPEDGE_CACHE=FOLDER")
    else:
        yield _free("cache", cache, f"rm -r '{cache}'" if _size(cache) > ROOM_BYTES else "export SPEDGE_CACHE=FOLDER")
    yield _free("temporary files", Path(tempfile.gettempdir()), "export TMPDIR=FOLDER")


def _free(name: str, folder: Path, mend: str) -> Finding:
    free = shutil.disk_usage(folder).free
    if free < ROOM_BYTES:
        return Finding("room", name, "wrong", f"{free >> 20} MB are free at {folder}, of {ROOM_BYTES >> 20}", mend)
    return Finding("room", name, "good", f"{free / (1 << 30):.1f} GB are free at {folder}")


def _size(folder: Path) -> int:
    """Bytes of the files in a folder; those that go meanwhile are not counted."""
    total = 0
    for root, _, files in os.walk(folder):
        for file in files:
            try:
                total += os.lstat(os.path.join(root, file)).st_size  # noqa: PTH118 a cache has many
            except OSError:
                continue
    return total
