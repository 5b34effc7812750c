"""The tokenizer here beside an earlier one's and the published core's, by turns, by processor time.

    python -m tests.bench.paired OTHER/.venv/bin/python [--core LIBRARY] [--turns N] [--only NAME]

OTHER is a clone of an earlier commit with an environment of its own. Every configuration of the reference vectors, from
columns and from records: a new spedge.Tokenizer and one push of a whole recording, in two processes that take turns;
medians of all turns.
LIBRARY is a shared library in which the published Rust core's loops were compiled, if you have one, with the function

    uint64_t tokenize(uint32_t kind, size_t width, size_t height, size_t patch_size, double threshold,
                      uint64_t absolute_us, uint64_t relative_us, double scale, double decay_per_us,
                      uint64_t duration_us, size_t n, const uint16_t *x, const uint16_t *y, const uint64_t *t,
                      const bool *p, uint64_t *events)

kind is 0 continuous, 1 discrete, 2 voxel; it makes a tokenizer, gives it all n events, drops the tokens, and returns
how many there were, and their events in *events.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import spedge

FORMS = ("columns", "records")
RECORDINGS = ("dvs_320x240", "evt2_640x480")
KINDS = ("continuous", "discrete", "voxel")
REPEATS = 6  #: of which a turn's time is the best


def golden() -> Path:
    return Path(os.environ.get("SPEDGE_SHARED", "../shared")).resolve() / "golden"


@cache
def index() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((golden() / "index.json").read_text())
    return document


def settings(recording: str, name: str) -> dict[str, Any]:
    sides = {side: index()["recordings"][recording][side] for side in ("width", "height")}
    return {**index()["configs"][name], **sides}


@cache
def events_of(recording: str, form: str) -> Any:
    with np.load(golden() / f"{recording}.events.npz") as arrays:
        columns = spedge.Columns(*(np.ascontiguousarray(arrays[name]) for name in ("t", "x", "y", "p")))
    if form == "columns":
        return columns
    records = np.empty(len(columns.t), spedge.EVENT_DTYPE)
    for name in ("t", "x", "y", "p"):
        records[name] = getattr(columns, name)
    return records


def tokenizing(recording: str, name: str, form: str) -> Callable[[], tuple[int, int]]:
    """How many tokens and events are in them."""
    options, events = settings(recording, name), events_of(recording, form)

    def run() -> tuple[int, int]:
        tokens = spedge.Tokenizer(**options).push(events)
        return len(tokens), len(tokens.events)

    return run


def core(library: Path, recording: str, name: str) -> Callable[[], tuple[int, int]]:
    options, events = settings(recording, name), events_of(recording, "columns")
    call = ctypes.CDLL(str(library)).tokenize
    call.restype = ctypes.c_uint64
    size, u64, real = ctypes.c_size_t, ctypes.c_uint64, ctypes.c_double
    x, y, t = events.x.astype(np.uint16), events.y.astype(np.uint16), events.t.astype(np.uint64)
    p = (events.p > 0).astype(np.uint8)
    in_tokens = u64()
    given = [
        ctypes.c_uint32(KINDS.index(options["kind"])),
        *(size(options[side]) for side in ("width", "height", "patch_size")),
        real(options["threshold"]),
        *(u64(options.get(f"{period}_refractory_us", 0)) for period in ("absolute", "relative")),
        real(options.get("relative_scale", 0.4)),
        real(options.get("decay_per_us", 0.0)),
        u64(options.get("duration_us", 0)),
        size(len(t)),
        *(ctypes.c_void_p(column.ctypes.data) for column in (x, y, t, p)),
        ctypes.byref(in_tokens),
    ]

    def run() -> tuple[int, int]:
        _ = x, y, t, p  # what the pointers are of
        return int(call(*given)), in_tokens.value

    return run


def serve() -> None:
    """Time what is asked for, a line each, and answer with ns, tokens and events in them."""
    for line in sys.stdin:
        recording, name, form = json.loads(line)
        run = tokenizing(recording, name, form) if form in FORMS else core(Path(form), recording, name)
        best = sys.maxsize
        for _ in range(REPEATS):  # the first finds caches as the other process left them
            start = time.thread_time_ns()
            made = run()
            best = min(best, time.thread_time_ns() - start)
        print(json.dumps([best, *made]), flush=True)


class Other:
    """A process of a Python that answers serve()'s questions."""

    def __init__(self, python: str) -> None:
        command = [python, "-P", __file__, "--serve"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *question: str) -> list[int]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer: list[int] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def compare(ours: Other, theirs: Other, library: str | None, recording: str, name: str, turns: int) -> dict[str, Any]:
    """Medians: ns an event, and ratios of the same turn."""
    row: dict[str, Any] = {"recording": recording, "configuration": name}
    asked = [(side, form) for form in FORMS for side in (ours, theirs)] + ([(ours, library)] if library else [])
    times: list[list[float]] = [[] for _ in asked]
    made = set()
    for turn in range(turns):
        for i in range(len(asked)) if turn % 2 else reversed(range(len(asked))):
            ns, *tokens = asked[i][0].ask(recording, name, asked[i][1])
            times[i].append(ns / index()["recordings"][recording]["events"])
            made.add(tuple(tokens))
    if len(made) > 1:
        sys.exit(f"{recording}, {name}: other tokens: {sorted(made)}")
    for i, form in enumerate(FORMS):
        mine, before = times[2 * i], times[2 * i + 1]
        row[f"{form}_ns"] = round(statistics.median(mine), 2)
        row[f"{form}_of_before"] = round(statistics.median(a / b for a, b in zip(mine, before, strict=True)), 2)
        if library:
            row[f"core_of_{form}"] = round(statistics.median(c / a for c, a in zip(times[-1], mine, strict=True)), 2)
    if library:
        row["core_ns"] = round(statistics.median(times[-1]), 2)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.paired", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", help="the other Python")
    parser.add_argument("--core", default=None, help="the published core as a shared library")
    parser.add_argument("--turns", type=int, default=41)
    parser.add_argument("--only", default="", help="configurations whose names have this")
    arguments = parser.parse_args()
    library = str(Path(arguments.core).resolve()) if arguments.core else None
    ours, theirs = Other(sys.executable), Other(arguments.other)
    rows = [
        compare(ours, theirs, library, recording, name, arguments.turns)
        for recording in RECORDINGS
        for name in index()["configs"]
        if arguments.only in name
    ]
    ours.close()
    theirs.close()
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(map(str, row.values())) + " |")
    for key in [key for key in rows[0] if "_of_" in key]:
        print(f"{key}: geometric mean {statistics.geometric_mean(row[key] for row in rows):.2f}")


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["--serve"] else main()
