"""Our compiled encoder and ONNX Runtime's, by turns in one process of this machine: what each takes."""

from __future__ import annotations

import ctypes
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
_PATIENCE = 1.0  #: seconds
#: Of a logit: both add in another order, and in 8 bits a number may be rounded to its other neighbour.
_TOLERANCE = {"fp32": 1e-3, "int8w": 1e-3, "int8": 0.2}
_CALLS = """
#include "model.h"
int bench_use(uint32_t threads, const char *vectors) { return sp_model.use ? sp_model.use(threads, vectors) : 0; }
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
    the clock, for what runs on several threads on a machine that does nothing else. fp32_ns: ours in fp32, where ours
    is in another precision, else None; of_fp32, wall_of_fp32: ours over that. vectors: the vector instructions that
    were asked for (kernel_rows.h); None: the best.
    """

    threads: int
    ours_ns: int
    theirs_ns: int
    ratio: float
    wall_ratio: float
    turns: int
    fp32_ns: int | None = None
    of_fp32: float | None = None
    wall_of_fp32: float | None = None
    vectors: str | None = None


def paired(bundle: Bundle, folder: Path, rows: Rows, threads: int = 1, fp32: Path | None = None) -> Paired:
    """Run the model that was compiled to a folder and ONNX Runtime on encoder.onnx by turns, by the vector instructions
    that SPEDGE_VECTORS names, else the best.

    rows: float32 [n, hidden]. A model in reduced precision is held to its own reference, and
    timed against fp32; `fp32`, the same model compiled in that precision, takes its turns, too. Raises CheckFailed
    where a model and its reference do not agree, UsageError where a folder does not build here.
    """
    vectors = os.environ.get("SPEDGE_VECTORS") or None
    with tempfile.TemporaryDirectory(prefix="spedge-bench-") as scratch:
        theirs = _theirs(bundle, rows, threads)
        plain = theirs()
        runs = [theirs]
        for number, one in enumerate([folder] if fp32 is None else [fp32, folder]):
            report = json.loads((one / "report.json").read_text())
            library = Path(scratch) / f"model-{number}"
            ours = _ours(one, report["flags"], rows, len(bundle.labels), threads, vectors, library)
            quantised = one / QUANTISED
            wanted = Reference(bundle, quantised).encode(rows) if quantised.is_file() else plain
            difference = float(np.abs(ours() - wanted).max())
            if not difference <= _TOLERANCE[report["precision"]]:
                raise CheckFailed(f"the compiled encoder and ONNX Runtime differ by {difference:.1e}")
            runs.append(ours)
        turns: list[list[tuple[int, int]]] = []
        end = time.monotonic() + SECONDS
        while len(turns) < TURNS or time.monotonic() < end:
            turns.append([_time(run, threads) for run in runs])
    ns = [int(statistics.median(turn[run][0] for turn in turns)) for run in range(len(runs))]
    beside = Paired(threads, ns[-1], ns[0], _ratio(turns, 0, 0), _ratio(turns, 0, 1), len(turns), vectors=vectors)
    if fp32 is None:
        return beside
    return replace(beside, fp32_ns=ns[1], of_fp32=_ratio(turns, 1, 0), wall_of_fp32=_ratio(turns, 1, 1))


def _ratio(turns: Sequence[Sequence[tuple[int, int]]], to: int, which: int) -> float:
    """Median of the last run's times over those of run `to` in the same turn. which: processors' or the clock's."""
    return round(statistics.median(turn[-1][which] / max(1, turn[to][which]) for turn in turns), 3)


def _time(run: Encode, threads: int) -> tuple[int, int]:
    """ns of the process's processors and of the clock."""
    if threads > 1:
        _rest()
    begin, wall = time.process_time_ns(), time.perf_counter_ns()
    run()
    return time.process_time_ns() - begin, time.perf_counter_ns() - wall


def _rest() -> None:
    """Until the threads of the run before sleep: they look out for more work for a while (ONNX Runtime's for 50 ms),
    and would take processors from the next."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        begin = time.process_time_ns()
        time.sleep(_SETTLE)
        if time.process_time_ns() - begin < _SETTLE * 1e8:  # a tenth of a processor
            return


def _ours(
    folder: Path, flags: Sequence[str], rows: Rows, classes: int, threads: int, vectors: str | None, scratch: Path
) -> Encode:
    scratch.mkdir()
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
    if library.bench_use(threads, vectors and vectors.encode()) != 0:
        by = f" by {vectors} (SPEDGE_VECTORS)" if vectors else ""
        raise UsageError(f"the compiled model cannot have {threads} threads here{by}")
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
