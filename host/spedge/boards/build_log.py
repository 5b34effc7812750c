"""What went wrong, out of the output of a build that failed."""

from __future__ import annotations

import re
from collections.abc import Sequence

_OVERFLOW = re.compile(r"region [`'](\S+)' overflowed by (\d+ bytes)|section \S+ will not fit in region [`'](\S+)'")
#: What is said of work, and a line of source in a message: both may hold any word.
_NO_MESSAGE = re.compile(r"(Compiling|Linking|Archiving|Indexing|Building|Checking|Generating|Processing) |\s*\d* \|")
#: Said because something else had gone wrong.
_CONSEQUENCE = re.compile(r"collect2: error: ld returned|\*\*\* |compilation terminated|recipe for target")
_ERRORS = (
    re.compile(  # of compilers, assemblers, linkers, shells, PlatformIO
        r"\b(?i:error): |undefined reference|multiple definition|cannot find |relocation truncated"
        r"|: not found$|: [Pp]ermission denied$|: No such file|: command not found"
    ),
    re.compile(r"^[\w.]*(?:Error|Exception|Interrupt|Failed|Unknown\w*)\b.*: "),  # how a traceback ends
    re.compile(r"(?:^|/)ld(?:\.\w+)?: (?!warning)"),
    re.compile(r"\*\*\* "),
)
_TOOL = re.compile(r"^\S*/(?=[\w.+-]+: )")  # where it lies is of no use
_TABLE = re.compile(r"[-=\s]*$|=+ .* =+$|Environment +Status|\S+ +(FAILED|SUCCESS)\b")


def what_went_wrong(lines: Sequence[str]) -> str:
    """The line that says it, or a sentence: a program that is larger than a memory is said in our words.

    lines: the output of PlatformIO and of what it ran.
    """
    overflows: dict[str, str] = {}
    for found in filter(None, map(_OVERFLOW.search, lines)):  # by how much is not always said, and then last
        overflows[found[1] or found[3]] = f" by {found[2]}" if found[2] else ""
    if overflows:
        much = " and ".join(f"{region}{size}" for region, size in overflows.items())
        return f"the program is larger than the board's memory, {much}: choose a smaller model, or another board"
    said = [line for line in lines if not _NO_MESSAGE.match(line)]
    for pattern in _ERRORS:
        for line in said:
            if pattern.search(line) and (pattern is _ERRORS[-1] or not _CONSEQUENCE.search(line)):
                return _TOOL.sub("", line.strip())
    left = [line for line in said if not _TABLE.match(line)]
    return left[-1].strip() if left else "PlatformIO said nothing"
