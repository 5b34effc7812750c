"""Labels for `spedge stream`: keys of the terminal or lines of a pipe, and a page with a button for each."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spedge.base.errors import UsageError
from spedge.cli.common import print_json, print_pairs
from spedge.cli.pages import require_page, shown_live

if TYPE_CHECKING:
    from spedge.jobs.labelling import Labelled, Labeller
    from spedge.sources import Source

_PATCH, _THRESHOLD = 16, 64.0  # of the page's tokens


def labeller_of(labels: str, folder: Path, source: Source, seconds: float) -> Labeller:
    """labels: names, with commas. Raises UsageError for what no data set can be of."""
    from spedge.jobs.labelling import Labeller
    from spedge.recordings import formats

    if folder.is_file() or folder.suffix in formats():
        raise UsageError(f"{folder}: labelled samples go into a folder for each label: give the folder of these")
    return Labeller(folder, [label.strip() for label in labels.split(",")], source.width, source.height, seconds)


def label(
    source: Source,
    labeller: Labeller,
    view: bool,
    at_end: str | None,
    say: Callable[[str], None],
    ended: Callable[[int], bool],
) -> Labelled:
    """Until the source ends, Ctrl-C, or `ended` of so many events."""
    from spedge.jobs.labelling import KEYS, label_source
    from spedge.tokens.settings import TokenizerSettings

    number = None if at_end is None else labeller.number_of(at_end)
    if at_end is not None and number is None:
        raise UsageError(f"{at_end!r} is none of the labels {', '.join(labeller.labels)}")
    keys = ", ".join(f"{key} {name}" for key, name in zip(KEYS, labeller.labels, strict=False))

    def follow(events: int) -> bool:
        last = f"  kept {labeller.kept[-1].path}" if labeller.kept else ""
        say(f"{events:,} events  {keys}{last}")
        return ended(events)

    with contextlib.ExitStack() as stack:
        told = stack.enter_context(_keys(labeller)) if number is None else tuple
        watch = None
        if view:
            require_page()
            settings = TokenizerSettings.of(
                width=source.width, height=source.height, patch_size=_PATCH, threshold=_THRESHOLD
            )
            stage = stack.enter_context(shown_live(source.name, settings))
            stage.labeller, watch = labeller, stage.offer
        return label_source(source, labeller, watch=watch, told=told, at_end=number, on_progress=follow)


@contextlib.contextmanager
def _keys(labeller: Labeller) -> Iterator[Callable[[], Sequence[int]]]:
    """What is typed: keys at a terminal, and lines with a key or a name from a pipe. Others are passed over."""
    try:
        file = sys.stdin.fileno()
    except (OSError, ValueError, AttributeError):  # there is none
        yield lambda: ()
        return
    typed = os.isatty(file)
    rest, over = b"", False

    def told() -> Sequence[int]:
        nonlocal rest, over
        found: list[bytes] = []
        while not over and select.select([file], [], [], 0)[0]:
            read = os.read(file, 256)
            over = not read
            *lines, rest = (rest + read).split(b"\n")
            found += lines
        if typed:
            found, rest = [bytes([byte]) for line in (*found, rest) for byte in line], b""
        numbers = (labeller.number_of(text.decode("utf-8", "replace").strip()) for text in found)
        return [number for number in numbers if number is not None]

    if not typed:
        yield told
        return
    import termios
    import tty

    before = termios.tcgetattr(file)
    tty.setcbreak(file)
    try:
        yield told
    finally:
        termios.tcsetattr(file, termios.TCSADRAIN, before)


def print_labelled(done: Labelled, labeller: Labeller, as_json: bool) -> None:
    """How many samples there are of each label, and where."""
    counts = {name: sum(kept.label == name for kept in done.kept) for name in labeller.labels}
    document: dict[str, Any] = {"folder": str(labeller.folder), "events": done.events, "kept": counts}
    if as_json:
        samples = [{"path": str(kept.path), "label": kept.label, "events": kept.events} for kept in done.kept]
        print_json(document | {"samples": samples})
        return
    document["kept"] = ", ".join(f"{name} {count}" for name, count in counts.items())
    print_pairs(document)
