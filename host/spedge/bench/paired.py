"""Our compiled encoder and ONNX Runtime's, by turns in one process of this machine: what each takes."""

from __future__ import annotations

import ctypes
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spedge.base.errors import CheckFailed, UsageError
from spedge.bench.machine import Rows
from spedge.model.bundle import Bundle

_TOLERANCE = 1e-3  # of a logit: both compute in fp32, in another order
_CALLS = """
#include "model.h"
int bench_encode(void *arena, uint32_t count) { return sp_model.encode(arena, count); }
uint32_t bench_number(int which)
{
    return which == 0 ? sp_model.arena_bytes : which == 1 ? sp_model.input_offset : sp_model.outputs[0].offset;
}
"""


@dataclass(frozen=True)
class Paired:
    """ns of one inference, medians of `repeats` by turns. ratio: median of ours over theirs of the same turn.

    clock: "processor", of the thread that computes, or "wall", where theirs takes several threads. threads: theirs;
    ours takes one.
    """

    ours_ns: int
    theirs_ns: int
    ratio: float
    repeats: int
    threads: int
    clock: str


def paired(bundle: Bundle, folder: Path, flags: Sequence[str], rows: Rows, threads: int, seconds: float) -> Paired:
    """Run the model that was compiled to a folder and ONNX Runtime on encoder.onnx by turns, for about that long.

    flags: of the target. rows: float32 [n, hidden]. Raises CheckFailed where the two do not agree, UsageError where the
    folder does not build here.
    """
    with tempfile.TemporaryDirectory(prefix="spedge-bench-") as scratch:
        ours, numbers = _ours(folder, flags, rows, len(bundle.labels), Path(scratch))
        theirs = _theirs(bundle, rows, threads)
        difference = float(np.abs(ours() - theirs()).max())
        if not difference <= _TOLERANCE:
            raise CheckFailed(f"the compiled encoder and ONNX Runtime differ by {difference:.1e}")
        clock = time.thread_time_ns if threads == 1 else time.perf_counter_ns
        turns: list[tuple[int, int]] = []
        end = time.monotonic() + seconds
        while len(turns) < 5 or time.monotonic() < end:
            turns.append((_time(ours, clock), _time(theirs, clock)))
    del numbers
    mine, other = (int(statistics.median(column)) for column in zip(*turns, strict=True))
    ratio = statistics.median(a / b for a, b in turns)
    return Paired(mine, other, ratio, len(turns), threads, "processor" if threads == 1 else "wall")


def _time(run: Callable[[], Any], clock: Callable[[], int]) -> int:
    begin = clock()
    run()
    return clock() - begin


def _ours(
    folder: Path, flags: Sequence[str], rows: Rows, classes: int, scratch: Path
) -> tuple[Callable[[], Rows], Any]:
    (scratch / "calls.c").write_text(_CALLS)
    sources = [str(folder / name) for name in ("model.c", "kernels.c", "weights.c")] + [str(scratch / "calls.c")]
    command = ["cc", "-std=c99", *flags, "-shared", "-fPIC", f"-I{folder}", f"-I{folder / 'include'}", *sources]
    done = subprocess.run([*command, "-lm", "-o", str(scratch / "model.so")], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(f"the compiled model does not build as a library here: {done.stderr.strip().splitlines()[-1]}")
    library = ctypes.CDLL(str(scratch / "model.so"))
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

    return run, memory


def _theirs(bundle: Bundle, rows: Rows, threads: int) -> Callable[[], Rows]:
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
