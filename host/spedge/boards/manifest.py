"""Board manifests: what a board is, how it is built and how it runs.

A manifest is `boards/<name>.json`, a PlatformIO board file with one more section, `spedge`. Nothing here
knows a board by name: a new one is a new file.
"""

from __future__ import annotations

import difflib
import json
import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from spedge.base.errors import UsageError
from spedge.base.paths import boards_dir
from spedge.base.programs import Tool, apt_get
from spedge.link.transport import BAUD

Runs = Literal["process", "qemu", "serial"]
RUNS: tuple[Runs, ...] = ("process", "qemu", "serial")


@dataclass(frozen=True)
class Qemu:
    """How QEMU is started for a board: program, `-machine`, `-cpu` and further arguments.

    link, camera: which of the machine's UARTs, in QEMU's order, are the link and the camera port; None: no camera port.
    ram_source: address of the memory for camera bytes, their length in front; None: there is none.
    deaf_at_start: the emulated UART drops what comes before the firmware has set it up.
    """

    program: str
    machine: str
    cpu: str
    arguments: tuple[str, ...] = ()
    link: int = 0
    camera: int | None = None
    ram_source: int | None = None
    deaf_at_start: bool = False


@dataclass(frozen=True)
class Process:
    """How a board's program is started on this machine: its arguments, and the `emulator` that runs it where this
    is not a `machine` (as uname says it) itself; both None when it was built for this machine. start_seconds: how long
    it may take to say where its link is."""

    arguments: tuple[str, ...] = ()
    machine: str | None = None
    emulator: str | None = None
    start_seconds: float = 5.0

    @property
    def emulated(self) -> bool:
        return self.emulator is not None and platform.machine() != self.machine


@dataclass(frozen=True)
class Serial:
    """How a board on a cable is found and spoken to: (vendor, product) ids of its USB port, and the baud rate."""

    usb_ids: tuple[tuple[int, int], ...] = ()
    baud: int = BAUD


@dataclass(frozen=True)
class Flash:
    """How a board's flash is written: where it begins, how its chip is known, and the methods, the preferred first.

    chip_id: what the lowest 12 bits at id_at hold, which a bootloader tells, too; size_at: the size of the flash in KB.
    uf2_family: the chip's number in UF2 files. methods: settings of each, as `spedge.boards.flash` names them.
    """

    address: int
    methods: dict[str, dict[str, Any]]
    chip_id: int | None = None
    id_at: int = 0
    size_at: int = 0
    uf2_family: int | None = None


@dataclass(frozen=True)
class Board:
    """One board, from its manifest.

    `target` is what `spedge compile --target` takes; `port` is a folder of firmware/port; `flash_bytes` and
    `ram_bytes` are limits of the chip; `cost_unit` is the unit of the costs the board reports; `silicon` is
    False for boards that are emulated; `parts` are sources of others that it is built with (spedge.boards.parts).
    Of `process`, `qemu` and `serial` the one that `runs` names is set.
    """

    name: str
    title: str
    description: str
    core: str
    target: str
    port: str
    runs: Runs
    flash_bytes: int
    ram_bytes: int
    cost_unit: str
    silicon: bool
    manifest: Path
    requires: tuple[Tool, ...] = ()
    process: Process | None = None
    qemu: Qemu | None = None
    serial: Serial | None = None
    flash: Flash | None = None
    parts: tuple[str, ...] = ()

    def on_threads(self, threads: int | None) -> Board:
        """The board, its model on so many threads; None: as it is. Raises UsageError for a board that is no Linux."""
        if threads is None:
            return self
        if self.port != "posix":
            raise UsageError(f"{self.name} has one core: --threads is for boards that run Linux: sim, jetson and host")
        process = self.process or Process()
        arguments = ("--threads", str(threads), *process.arguments)
        return replace(self, process=replace(process, arguments=arguments))

    @property
    def environment(self) -> str:
        """The board's environment in firmware/platformio.ini."""
        return self.name

    @property
    def emulator(self) -> str | None:
        """The program that emulates the board's processor on this machine."""
        if self.qemu:
            return self.qemu.program
        return self.process.emulator if self.process and self.process.emulated else None

    @property
    def missing(self) -> tuple[Tool, ...]:
        """Required programs that this machine does not have; empty when the board can be built and run here."""
        unneeded = self.process.emulator if self.process and not self.process.emulated else None
        return tuple(tool for tool in self.requires if not tool.present and tool.program != unneeded)

    @property
    def packages_missing(self) -> tuple[str, ...]:
        """Debian packages that bring what is missing."""
        return tuple(package for tool in self.missing for package in tool.packages)

    @property
    def bring(self) -> str:
        """The command that brings what is missing."""
        return apt_get(self.packages_missing)


def board_names() -> list[str]:
    """Names of all boards, the simulated board first."""
    names = sorted(path.stem for path in boards_dir().glob("*.json"))
    return sorted(names, key=lambda name: name != "sim")


def list_boards() -> list[Board]:
    """All boards, the simulated board first."""
    return [load_board(name) for name in board_names()]


def load_board(name: str) -> Board:
    """The board of that name. Raises UsageError, naming the known ones, when there is none."""
    names = board_names()
    if name not in names:
        close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"there is no board {name!r}{hint} (known: {', '.join(names)})")
    return _read(boards_dir() / f"{name}.json")


def _read(path: Path) -> Board:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        return _parse(path, manifest)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise UsageError(f"the board manifest {path} cannot be used: {reason}") from error


def _parse(path: Path, manifest: dict[str, Any]) -> Board:
    own = manifest["spedge"]
    run = own["run"]
    runs = run["how"]
    if runs not in RUNS:
        raise ValueError(f"run.how is {runs!r}, not one of {', '.join(RUNS)}")
    return Board(
        name=path.stem,
        title=manifest["name"],
        description=own["description"],
        core=own["core"],
        target=own["target"],
        port=own["port"],
        runs=runs,
        flash_bytes=int(manifest["upload"]["maximum_size"]),
        ram_bytes=int(manifest["upload"]["maximum_ram_size"]),
        cost_unit=own["cost_unit"],
        silicon=bool(own["silicon"]),
        manifest=path,
        requires=tuple(Tool(program, tuple(packages)) for program, packages in own.get("requires", {}).items()),
        process=_process(run) if runs == "process" else None,
        qemu=_qemu(run) if runs == "qemu" else None,
        serial=_serial(run) if runs == "serial" else None,
        flash=_flash(own["flash"]) if "flash" in own else None,
        parts=tuple(map(str, own.get("parts", ()))),
    )


def _process(run: dict[str, Any]) -> Process:
    return Process(tuple(run.get("arguments", ())), run.get("machine"), run.get("emulator"))


def _qemu(run: dict[str, Any]) -> Qemu:
    uarts = run.get("uarts", {})
    ram_source = run.get("ram_source")
    return Qemu(
        run["program"],
        run["machine"],
        run["cpu"],
        tuple(run.get("arguments", ())),
        link=int(uarts.get("link", 0)),
        camera=int(uarts["camera"]) if "camera" in uarts else None,
        ram_source=int(ram_source, 16) if ram_source is not None else None,
        deaf_at_start=bool(run.get("deaf_at_start", False)),
    )


def _serial(run: dict[str, Any]) -> Serial:
    usb_ids = tuple((int(vendor, 16), int(product, 16)) for vendor, product in run.get("usb_ids", ()))
    return Serial(usb_ids, int(run.get("baud", BAUD)))


def _flash(flash: dict[str, Any]) -> Flash:
    def number(name: str) -> int | None:
        return int(flash[name], 16) if name in flash else None

    return Flash(
        int(flash.get("address", "0"), 16),
        {str(name): dict(settings) for name, settings in flash["methods"].items()},
        number("chip_id"),
        number("id_at") or 0,
        number("size_at") or 0,
        number("uf2_family"),
    )
