"""The deepest stack of an image, from the instructions in it: what each function pushes, and whom it calls.

An upper bound: all that a function takes from the stack anywhere counts at each of its calls. Calls by a pointer go to
the functions that `BY_POINTER` names; on a Cortex-M one interrupt comes on top, since all have the same priority.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spedge.base.errors import SpedgeError
from spedge.boards.manifest import Board

#: Functions that call by a pointer, and what those pointers lead to: both by name, without what a compiler appends.
BY_POINTER = {
    r"app_command": r"on_(?!token$)\w+",
    r"infer|run_\w+|app_infer\w*|app_detect\w*|app_reset_stream|on_token": r"encode|step|read|reset",
    r"sp_decoder_decode": r"sp_decode_\w+",
    r"sp_tokenizer_push\w*|push_words": r"(push|run)(_\w+)?(?<!_words)",
    r"push|run": r"(push|run)_(16|2_to|any)",
    r"sp_pipeline_\w+|on_pipeline_token|take_token": r"on_token|clock\w*|port_counter|read_clock",
    r"tud_(rhport_init|task_ext)|configuration_reset|process_\w+|usbd_control_xfer_cb": r"cdcd_\w+",  # TinyUSB
    r"second_link_\w+|hear": r"(read|write)_line|usb_cdc_(read|write)",
    r"dcd_event_handler": r"(?!)",  # those who want to know of frames, which a serial port does not
    # the ROM of an RP2040 or RP2350, whose frames nobody tells: at the start and at the end, far from the deepest chain
    r"end_find_id|flash_\w+|rom_\w+|port_reboot": r"(?!)",
}
#: Pushed by a Cortex-M with an FPU in front of an interrupt: 26 words, and one to align them.
_INTERRUPT_BYTES = 108
_FUNCTION = re.compile(r"^([0-9a-f]+) <([^>]+)>:$")
_WORD = re.compile(r"^ *([0-9a-f]+):\t\.word\t(0x[0-9a-f]+)", re.M)
_LITERAL = re.compile(r"\tldr\t(r\d+), \[pc, .*@ \(([0-9a-f]+) ")
_VENEER = re.compile(r"__(\w+)_veneer$")  # of the linker, to a function too far away for a call
_SUFFIX = re.compile(r"\.(isra|constprop|part|cold|lto_priv)\b.*")
_TARGET = re.compile(r"\b([0-9a-f]+) <[^>+]+(?:\+0x([0-9a-f]+))?>")


class StackError(SpedgeError):
    """The stack of an image cannot be bounded."""


#: Of RISC-V: what takes a frame for its caller, and what gives it back.
_MILLICODE = ("__riscv_save", "__riscv_restore")
_INSTRUCTION = re.compile(r"^ *[0-9a-f]+:\t([a-z][a-z0-9.]*)(?:\t(.*))?$")


@dataclass(frozen=True)
class Stack:
    """bytes: of the deepest chain of calls from the reset on, with an interrupt on top. chain: its functions."""

    bytes: int
    chain: tuple[str, ...]


@dataclass
class _Function:
    name: str
    frame: int = 0
    calls: set[int] = field(default_factory=set)
    by_pointer: bool = False
    unknown: str = ""

    @property
    def plain(self) -> str:
        """Its name, without what a compiler appends."""
        return _SUFFIX.sub("", self.name)


def worst_stack(board: Board, image: Path) -> Stack | None:
    """Of a program without an operating system; None for others, and where its compiler's objdump is not installed.

    Raises StackError for a function that calls itself, takes an amount that is not constant, or calls by a pointer that
    is not known here."""
    compiler = next((tool.program for tool in board.requires if tool.program.endswith("gcc")), "")
    objdump = compiler.removesuffix("gcc") + "objdump"
    if board.runs == "process" or not compiler or shutil.which(objdump) is None:
        return None
    text = subprocess.run(
        [objdump, "-d", "--no-show-raw-insn", str(image)], capture_output=True, text=True, errors="replace", check=True
    ).stdout
    return deepest(text, *_starts(image))


def deepest(text: str, entry: int, handlers: frozenset[int] = frozenset()) -> Stack:
    """The deepest chain in what objdump says of an image. entry: where it begins; handlers: where interrupts do."""
    functions = _functions(text)
    open_: list[str] = []

    @functools.cache
    def below(at: int) -> Stack:
        function = functions[at]
        if function.unknown:
            raise StackError(f"the stack cannot be bounded: {function.name} has {function.unknown}")
        if function.name in open_:
            raise StackError(f"the stack cannot be bounded: {function.name} calls itself, by {' and '.join(open_)}")
        open_.append(function.name)
        calls = function.calls | (_pointed(function, functions) if function.by_pointer else set())
        called = [(functions[to].name, to) for to in calls if to in functions]
        most = _most(below(to) for name, to in called if not name.startswith(_MILLICODE))
        saved = sum(functions[to].frame for name, to in called if name.startswith(_MILLICODE[0]))
        open_.pop()
        return Stack(function.frame + saved + most.bytes, (function.name, *most.chain))

    if entry not in functions:
        raise StackError("the stack cannot be bounded: there is no function where the image begins")
    main, interrupt = below(entry), _most(below(at) for at in handlers if at in functions)
    if not interrupt.chain:
        return main
    return Stack(main.bytes + _INTERRUPT_BYTES + interrupt.bytes, (*main.chain, *interrupt.chain))


def _most(stacks: Iterable[Stack]) -> Stack:
    return max(stacks, key=lambda stack: (stack.bytes, stack.chain), default=Stack(0, ()))


def _pointed(function: _Function, functions: dict[int, _Function]) -> set[int]:
    pattern = next((to for of, to in BY_POINTER.items() if re.fullmatch(of, function.plain)), None)
    if pattern is None:
        raise StackError(
            f"the stack cannot be bounded: {function.name} calls by a pointer, and spedge does not know whom"
        )
    return {at for at, other in functions.items() if re.fullmatch(pattern, other.plain)}


def _functions(text: str) -> dict[int, _Function]:
    functions: dict[int, _Function] = {}
    known: dict[str, int] = {}  # constants in registers, of the function that is read
    start, current = 0, _Function("")
    literals = {int(at, 16): int(word, 16) for at, word in _WORD.findall(text)}
    for line in text.splitlines():
        if literal := _LITERAL.search(line):
            known[literal[1]] = _signed(literals.get(int(literal[2], 16), 0))
        if match := _FUNCTION.match(line):
            start, known = int(match[1], 16), {}
            current = functions[start] = _Function(match[2])
        elif match := _INSTRUCTION.match(line):
            _read(current, start, match[1], match[2] or "", known)
    places = {function.name: at for at, function in functions.items()}
    for function in functions.values():
        if (veneer := _VENEER.fullmatch(function.name)) and veneer[1] in places:
            function.calls.add(places[veneer[1]])
    return functions


def _read(function: _Function, start: int, operation: str, operands: str, known: dict[str, int]) -> None:
    """What an instruction of Thumb or RISC-V adds to what is known of its function."""
    taken = _taken(operation, operands, known)
    if taken is None:
        function.unknown = f"a frame of no constant size ({operation} {operands.strip()})"
    else:
        function.frame += taken
    target = _TARGET.search(operands)
    if target and (operation[0] in "bj" or operation == "tail"):
        to = int(target[1], 16) - int(target[2] or "0", 16)
        if to != start:
            function.calls.add(to)
    elif not target and re.match(r"(blx|bx|jalr|jr)", operation) and not re.match(r"(lr|ra|t0)\b", operands):
        leads = any(re.fullmatch(of, function.plain) for of in BY_POINTER)
        function.by_pointer |= leads or operation in ("blx", "jalr")  # the others may be a switch's


def _taken(operation: str, operands: str, known: dict[str, int]) -> int | None:
    """Bytes that an instruction takes from the stack; None: not to be told."""
    if match := re.match(r"(movs|movw?|mov\.w)$", operation):
        if value := re.match(r"(\w+), #(\d+)", operands):
            known[value[1]] = int(value[2])
        return 0
    if operation == "lsls" and (match := re.match(r"(r\d+), (r\d+), #(\d+)", operands)) and match[2] in known:
        known[match[1]] = known[match[2]] << int(match[3])
    if re.match(r"push|stmdb|vpush|vstmdb", operation):
        if operation.endswith("stmdb") and not operands.startswith("sp!"):
            return 0
        return sum(_registers(operands))
    if operation.startswith(("str", "vstr")) and (match := re.search(r"\[sp, #-(\d+)\]!", operands)):
        return int(match[1])
    if operation.startswith("sub") and re.match(r"sp\b", operands):
        if match := re.search(r"#(\d+)", operands):
            return int(match[1])
        register = operands.split(",")[-1].split()[0]
        return known.get(register)
    if operation == "add" and (match := re.match(r"sp, (r\d+)$", operands)):  # a Cortex-M0+ adds a negative number
        return max(-known[match[1]], 0) if match[1] in known else None
    if operation in ("addi", "add", "c.addi16sp") and (match := re.match(r"sp,sp,-(\d+)", operands)):
        return int(match[1])
    return 0


def _signed(word: int) -> int:
    return word - (1 << 32) if word >> 31 else word


def _registers(operands: str) -> Iterator[int]:
    """Bytes of each register of a list."""
    listed = operands[operands.index("{") + 1 : operands.index("}")]
    for part in listed.split(","):
        first, _, last = part.strip().partition("-")
        number = int(last[1:]) - int(first[1:]) + 1 if last else 1
        yield number * (8 if first[0] == "d" else 4)


def _starts(image: Path) -> tuple[int, frozenset[int]]:
    """Where the image begins, and, of a Cortex-M, the functions in its vectors that come back."""
    from elftools.elf.elffile import ELFFile

    with image.open("rb") as stream:
        elf = ELFFile(stream)
        table: Any = elf.get_section_by_name(".symtab")
        symbols = {symbol.name: symbol for symbol in table.iter_symbols()}
        entry = elf["e_entry"] & ~1
        if "vectors" not in symbols or elf["e_machine"] != "EM_ARM":
            return elf["e_entry"], frozenset()
        vectors = symbols["vectors"]
        section = elf.get_section(vectors["st_shndx"])
        start = vectors["st_value"] - section["sh_addr"]
        data = section.data()[start + 8 : start + vectors["st_size"]]  # behind the stack and the reset
    words = {int.from_bytes(data[i : i + 4], "little") & ~1 for i in range(0, len(data), 4)}
    return entry, frozenset(words - {symbols["fault_handler"]["st_value"] & ~1})
