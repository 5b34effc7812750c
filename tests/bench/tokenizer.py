"""The tokenizer on the host: the reference's configurations, batches on two threads, small pushes.

`python -m tests.bench.tokenizer` prints a table against np.bincount, with `batch` what two threads give;
tests.bench.paired compares with an earlier commit. Times are the best of many: what else runs on the machine only ever
makes them longer.
"""

from __future__ import annotations

import json
import os
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

import spedge

PATCH = 16
REPEATS = 60
RECORDINGS = ("dvs_320x240", "evt2_640x480")
BATCH_EVENTS = 1_600_000


def bench_reference(repeats: int = REPEATS) -> list[dict[str, Any]]:
    """Every configuration of the reference vectors, where those are ($SPEDGE_SHARED), all forms by turns.

    columns, records: new tokenizer and push(), as a multiple of np.bincount on columns. records_strided: of np.bincount
    on the fields of the records, as they lie there.
    """
    folder = Path(os.environ.get("SPEDGE_SHARED", "../shared")) / "golden"
    if not folder.is_dir():
        print(f"no reference data at {folder}: left out", file=sys.stderr)
        return []
    index = json.loads((folder / "index.json").read_text())
    return [
        _row(recording, name, index, *_events(folder, recording), repeats)
        for recording in RECORDINGS
        for name in index["configs"]
    ]


def _row(
    recording: str,
    name: str,
    index: dict[str, Any],
    columns: spedge.Columns,
    records: NDArray[np.void],
    repeats: int,
) -> dict[str, Any]:
    config = index["configs"][name]
    width, height = (index["recordings"][recording][side] for side in ("width", "height"))

    def tokenize(events: NDArray[np.void] | spedge.Columns) -> object:
        return spedge.Tokenizer(**config, width=width, height=height).push(events)

    counted, strided, from_columns, from_records = quickest(
        [
            lambda: count(columns.x, columns.y, width, height),
            lambda: count(records["x"], records["y"], width, height),
            lambda: tokenize(columns),
            lambda: tokenize(records),
        ],
        repeats,
        time.thread_time,  # one thread; waiting for a processor is not the tokenizer's
    )
    return {
        "recording": recording,
        "configuration": name,
        "columns": round(from_columns / counted, 2),
        "records": round(from_records / counted, 2),
        "records_strided": round(from_records / strided, 2),
        "columns_events_per_s": round(len(columns.t) / from_columns),
        "records_events_per_s": round(len(columns.t) / from_records),
    }


def _events(folder: Path, recording: str) -> tuple[spedge.Columns, NDArray[np.void]]:
    with np.load(folder / f"{recording}.events.npz") as arrays:
        columns = spedge.Columns(*(np.ascontiguousarray(arrays[name]) for name in ("t", "x", "y", "p")))
    records = np.empty(len(columns.t), spedge.EVENT_DTYPE)
    for name in ("t", "x", "y", "p"):
        records[name] = getattr(columns, name)
    return columns, records


def count(x: NDArray[Any], y: NDArray[Any], width: int, height: int) -> NDArray[np.intp]:
    """What all is compared with."""
    columns, rows = -(-width // PATCH), -(-height // PATCH)
    return np.bincount((y // PATCH).astype(np.int64) * columns + x // PATCH, minlength=columns * rows)


def bench_batch(events: NDArray[np.void], side: int, streams: int = 8) -> list[dict[str, Any]]:
    """tokenize_batch on one thread and on two, by turns.

    times_one_thread needs two processors with nothing else to do. The first row says what there is: zlib.crc32 of the
    same bytes, which shares nothing and needs no memory. times_cpu is the processor time of two threads over that of
    one; where it is 1, two threads do no more work than one.
    """
    batch = np.array_split(events[:BATCH_EVENTS], streams)  # short, so that some runs are not disturbed
    data = [part.tobytes() for part in batch]
    one, two = quickest([partial(_checksums, data, threads) for threads in (1, 2)], REPEATS)
    rows: list[dict[str, Any]] = [
        {"configuration": "crc32", "streams": streams, "times_one_thread": round(one / two, 2)}
    ]
    configurations: dict[str, dict[str, Any]] = {"threshold only": {}, "decay": {"decay_per_us": 1e-5}}
    for name, options in configurations.items():
        runs = [
            partial(spedge.tokenize_batch, batch, threads=threads, width=side, height=side, **options)
            for threads in (1, 2)
        ]
        one, two = quickest(runs, REPEATS)
        cpu_one, cpu_two = quickest(runs, REPEATS, time.process_time)
        rows.append(
            {
                "configuration": name,
                "streams": streams,
                "one_thread_events_per_s": round(BATCH_EVENTS / one),
                "two_threads_events_per_s": round(BATCH_EVENTS / two),
                "times_one_thread": round(one / two, 2),
                "times_cpu": round(cpu_two / cpu_one, 2),
            }
        )
    return rows


def _checksums(data: Sequence[bytes], threads: int) -> None:
    """What two threads can give on this machine at this moment."""

    def work(part: Sequence[bytes]) -> None:
        for piece in part:
            zlib.crc32(piece)

    others = [Thread(target=work, args=(data[i::threads],)) for i in range(1, threads)]
    for thread in others:
        thread.start()
    work(data[::threads])
    for thread in others:
        thread.join()


def bench_small_pushes(events: NDArray[np.void], side: int, pushes: int = 200) -> list[dict[str, Any]]:
    """Microseconds of a push of few events."""
    rows = []
    for size in (1, 8, 64, 512):
        pieces = [events[i : i + size] for i in range(0, min(len(events), pushes * size), size)]

        def push_all(pieces: list[NDArray[np.void]] = pieces) -> object:
            tokenizer = spedge.Tokenizer(width=side, height=side)
            return [tokenizer.push(piece) for piece in pieces]

        (seconds,) = quickest([push_all], REPEATS)
        rows.append({"events": size, "us_per_push": round(seconds / len(pieces) * 1e6, 2)})
    return rows


def quickest(
    runs: Sequence[Callable[[], object]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Seconds of the quickest run of each, by turns, so that other load on the machine hits all."""
    seconds = [float("inf")] * len(runs)
    for _ in range(repeats):
        for i, run in enumerate(runs):
            start = clock()
            run()
            seconds[i] = min(seconds[i], clock() - start)
    return seconds


def main() -> None:
    if sys.argv[1:] == ["batch"]:
        from tests.bench.__main__ import SIDE, moving_blobs

        print(json.dumps(bench_batch(moving_blobs(), SIDE), indent=2))
        return
    print("| recording | configuration | columns | records | records, strided |")
    print("|---|---|---|---|---|")
    for row in bench_reference():
        cells = [row["recording"], row["configuration"]]
        cells += [f"{row[form]:.2f}" for form in ("columns", "records", "records_strided")]
        print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()
