"""The formats of cameras' bytes: one table of their names and numbers, for every option, session and decoder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from spedge.base.errors import UsageError


class Format(NamedTuple):
    """library: its number in decode.h. wire: its number in CONFIGURE (SPEC.md). word: bytes of a word, for an eDVS of
    an event; 1 where they differ."""

    library: int
    wire: int
    word: int


#: By the names that users write.
FORMATS = {
    "evt2": Format(0, 0, 4),
    "evt2.1": Format(1, 1, 8),
    "evt2.1-legacy": Format(2, 2, 8),
    "evt3": Format(3, 3, 2),
    "edvs-e0": Format(4, 16, 2),
    "edvs-e1": Format(5, 17, 1),
    "edvs-e2": Format(6, 18, 4),
    "edvs-e3": Format(7, 19, 5),
    "edvs-e4": Format(8, 20, 6),
}
#: Those of words: a camera that sends them says no event's time twice.
WORD_FORMATS = tuple(name for name in FORMATS if not name.startswith("edvs"))
EDVS_FORMATS = tuple(name for name in FORMATS if name.startswith("edvs"))
#: Those whose events say when they were.
TIMED_FORMATS = tuple(name for name in FORMATS if name != "edvs-e0")


def format_name(text: str, known: Iterable[str] = FORMATS) -> str:
    """The name in FORMATS of what a user wrote, or a file's header says: EVT21 and "eDVS E4" are names, too.

    Raises UsageError, naming the known ones, for another than those.
    """
    known = tuple(known)
    name = text.strip().lower().replace(" ", "-").replace("_", "-")
    if name.startswith("evt21"):
        name = "evt2.1" + name.removeprefix("evt21")
    if name not in known:
        raise UsageError(f"there is no camera format {text!r}; known are {', '.join(known)}")
    return name
