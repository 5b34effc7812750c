"""Our compiled encoder and ONNX Runtime's, by turns in one process of this machine: what each takes."""

from __future__ import annotations

import ctypes
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spedge.base.errors import CheckFailed, UsageError
from spedge.base.objects import rows_objects
from spedge.bench.machine import Rows
from spedge.jobs.check import QUANTISED
from spedge.model.bundle import Bundle
from spedge.model.reference import Reference

SECONDS = 4.0  #: that the turns take about
TURNS = 7  #: at least
_SETTLE = 0.02
#: Of a logit: both add in another order, and in 8 bits a number may be rounded to its other neighbour.
_TOLERANCE = {"fp32": 1e-3, "int8w": 1e-3, "int8": 0.2}
_CALLS = """
#include "model.h"
int bench_use(uint32_t threads) { return sp_model.use ? sp_model.use(threads, 0) : 0; }
int bench_encode(void *arena, uint32_t count) { return sp_model.encode(arena, count); }
uint32_t bench_number(int which)
{
    return which == 0 ? sp_model.arena_bytes : which == 1 ? sp_model.input_offset : sp_model.outputs[0].offset;
}
"""

Encode = Callable[[], Rows]


@dataclass(frozen=True)
class Paired:
    """One inference, ours and ONNX Runtime's in fp32, medians of so many turns.

    ours_ns, theirs_ns: processor time of all threads. ratio: ours over theirs of the same turn. wall_ratio: the same by
    the clock, for what runs on several threads on a machine that does nothing else.
    """

    threads: int
    ours_ns: int
    theirs_ns: int
    ratio: float
    wall_ratio: float
    turns: int


def paired(bundle: Bundle, folder: Path, rows: Rows, threads: int = 1) -> Paired:
    """Run the model that was compiled to a folder and ONNX Runtime on encoder.onnx by turns.

    rows: float32 [n, hidden]. A model in reduced precision is held to its own reference, and
    timed against fp32. Raises CheckFailed where the two do not agree, UsageError where the folder does not build here.
    """
    report = json.loads((folder / "report.json").read_text())
    with tempfile.TemporaryDirectory(prefix="spedge-bench-") as scratch:
        ours = _ours(folder, report["flags"], rows, len(bundle.labels), threads, Path(scratch))
        theirs = _theirs(bundle, rows, threads)
        quantised = folder / QUANTISED
        wanted = Reference(bundle, quantised).encode(rows) if quantised.is_file() else theirs()
        difference = float(np.abs(ours() - wanted).max())
        if not difference <= _TOLERANCE[report["precision"]]:
            raise CheckFailed(f"the compiled encoder and ONNX Runtime differ by {difference:.1e}")
        turns: list[tuple[int, int, int, int]] = []
        end = time.monotonic() + SECONDS
        while len(turns) < TURNS or time.monotonic() < end:
            turns.append((*_time(ours, threads), *_time(theirs, threads)))
    mine, other = (int(statistics.median(turn[i] for turn in turns)) for i in (0, 2))
    ratio, wall = (statistics.median(turn[i] / max(1, turn[i + 2]) for turn in turns) for i in (0, 1))
    return Paired(threads, mine, other, round(ratio, 3), round(wall, 3), len(turns))


def _time(run: Encode, threads: int) -> tuple[int, int]:
    """ns of the process's processors and of the clock. Threads of the one before are let come to rest first: they look
    out for more work for a while, and would take processors from this."""
    if threads > 1:
        time.sleep(_SETTLE)
    begin, wall = time.process_time_ns(), time.perf_counter_ns()
    run()
    return time.process_time_ns() - begin, time.perf_counter_ns() - wall


def _ours(folder: Path, flags: Sequence[str], rows: Rows, classes: int, threads: int, scratch: Path) -> Encode:
    (scratch / "calls.c").write_text(_CALLS)
    options = ["cc", "-std=c99", *flags, "-fPIC"]
    sources = [*sorted(folder.glob("*.c")), *rows_objects(folder, options), scratch / "calls.c"]
    command = [*options, "-shared", f"-I{folder}", f"-I{folder / 'include'}", *map(str, sources)]
    done = subprocess.run(
        [*command, "-pthread", "-lm", "-o", str(scratch / "model.so")], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UsageError(f"the compiled model does not build as a library here: {done.stderr.strip().splitlines()[-1]}")
    library = ctypes.CDLL(str(scratch / "model.so"))
    if library.bench_use(threads) != 0:
        raise UsageError(f"the compiled model cannot have {threads} threads here")
    size, at, out = (library.bench_number(i) for i in range(3))
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    arena = memory[start : start + size]
    given = rows.astype(np.float32).reshape(-1)
    source, logits = arena[at : at + given.nbytes].view(np.float32), arena[out : out + 4 * classes].view(np.float32)
    pointer = ctypes.c_void_p(arena.ctypes.data)

    def run() -> Rows:
        source[:] = given
        if library.bench_encode(pointer, len(rows)) != 0:
            raise CheckFailed("the compiled encoder failed")
        return logits.copy()

    return run


def _theirs(bundle: Bundle, rows: Rows, threads: int) -> Encode:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    path = str(bundle.file("encoder.onnx"))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    tokens = np.zeros((1, bundle.tokens, rows.shape[1]), np.float32)
    tokens[0, : len(rows)] = rows
    feeds = {"tokens": tokens, "length": np.array([len(rows)], np.int32)}

    def run() -> Rows:
        (logits,) = session.run(["logits"], feeds)
        return np.asarray(logits[0], np.float32)

    return run
