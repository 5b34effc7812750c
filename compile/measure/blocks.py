"""The basic blocks of an image's functions, from LLVM's disassembly, and how often each was executed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ..errors import CompileError
from ..targets import Target

_FUNCTION = re.compile(r"^([0-9a-f]+) <(.+)>:$")
_INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\s+(\S.*)$")
_COMMENT = re.compile(r"\s*(@|//).*$")
_TARGET = re.compile(r"(?:0x)?([0-9a-f]+) <[^>]*>")
_CONDITIONS = "eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le"
#: Where a translated block of the emulator ends: at everything that may go elsewhere.
_BRANCH = re.compile(
    rf"^(?:b(?:{_CONDITIONS})?(?:\.[nw])?|b\.(?:{_CONDITIONS})|blx?r?|bx(?:{_CONDITIONS})?|br|ret|cbn?z|tbn?z|tb[bh]|"
    rf"lep?|letp|wls(?:tp\.\d+)?)\s|^ret$|^(?:pop|ldm)\S*\s.*\bpc\b"
)
_CALL = re.compile(r"^blx?r?\s")


@dataclass(frozen=True)
class Instruction:
    """`text`: as an assembler takes it; `goes`: the address that a branch names."""

    address: int
    text: str
    goes: int | None = None

    @property
    def branches(self) -> bool:
        return _BRANCH.match(self.text + " ") is not None


@dataclass(frozen=True)
class Block:
    """Instructions without a way in but the first nor out but the last. executed: how often."""

    function: str
    offset: int  # of the function's start
    code: tuple[Instruction, ...]
    executed: int = 0

    @property
    def loops(self) -> bool:
        """Whether its last instruction branches to its first."""
        return self.code[-1].goes == self.code[0].address and not _CALL.match(self.code[-1].text)


def executed_blocks(image: Path, target: Target, starts: Mapping[int, int], functions: str) -> list[Block]:
    """The blocks that were executed of the functions whose names match. starts: by address, how often the emulator
    began a translated block there: it ends one at a branch and at a page's end.

    Raises CompileError when the image cannot be read.
    """
    return counted_blocks(disassemble(image, target, functions), target, starts, functions)


def counted_blocks(
    listing: Iterable[tuple[str, list[Instruction]]], target: Target, starts: Mapping[int, int], functions: str
) -> list[Block]:
    """As `executed_blocks`, of an image that was disassembled before."""
    names = re.compile(functions)
    found: list[Block] = []
    for name, code in listing:
        if names.fullmatch(name):
            found += _counted(name, code, starts, 4096 if target.triple.startswith("aarch64") else 1024)
    return found


def disassemble(image: Path, target: Target, functions: str) -> Iterator[tuple[str, list[Instruction]]]:
    """The functions whose names match, and their instructions, by llvm-objdump."""
    names = re.compile(functions)
    command = ["llvm-objdump", "-d", "--no-show-raw-insn", f"--triple={target.triple}"]
    command += [*([] if target.triple.startswith("aarch64") else [f"--mcpu={target.cores[0]}"]), str(image)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CompileError(f"llvm-objdump cannot read {image}: {done.stderr.strip()}")
    name, code, data, wanted = "", list[Instruction](), False, False
    for line in done.stdout.splitlines():
        if line.endswith(">:") and (header := _FUNCTION.match(line)):
            data = header[2].startswith("$d")
            if not header[2].startswith("$"):
                if code:
                    yield name, code
                name, code, wanted = header[2], [], names.fullmatch(header[2]) is not None
        elif wanted and not data and (found := _INSTRUCTION.match(line)):
            text = _COMMENT.sub("", found[2].replace("\t", " ")).strip()
            goes = _TARGET.search(text)
            branch = _BRANCH.match(text + " ") is not None
            where = int(goes[1], 16) if goes and branch else None
            code.append(Instruction(int(found[1], 16), _TARGET.sub("elsewhere", text), where))
    if code:
        yield name, code


def _counted(name: str, code: list[Instruction], starts: Mapping[int, int], page: int) -> list[Block]:
    """The blocks of a function that were executed.

    A block is entered by a branch, where the emulator begins anew, or from the block before it that ends in none.
    """
    leaders = {code[0].address} | {i.goes for i in code if i.goes is not None}
    leaders |= {after.address for i, after in pairwise(code) if i.branches}
    blocks: list[list[Instruction]] = []
    for instruction in code:
        if instruction.address in leaders or not blocks:
            blocks.append([])
        blocks[-1].append(instruction)
    found = []
    flowing = 0  # executions of the block before, where it goes on into this one
    for block in blocks:
        first, last = block[0], block[-1]
        count = starts.get(first.address, 0) + (flowing if first.address % page else 0)
        flowing = 0 if last.branches else count
        if count:
            found.append(Block(name, first.address - code[0].address, tuple(block), count))
    return found
