"""Measurements, not checks: `make bench`. Prints a table, and JSON with --json.

- the tokenizer on the host, in events per second and as a multiple of the time np.bincount takes to count the
  events of each patch;
- the decoders of camera formats on the host, likewise;
- the same for each configuration of the reference vectors, from columns and from structured arrays;
- preprocessed samples to batches for training, beside what the published pipeline does in numpy;
- preprocessing a recording, beside `spedge convert`, and with two processes;
- batches on one thread and on two, and pushes of few events;
- a random encoder on the simulated board against ONNX Runtime on one thread, in microseconds;
- a model on every board that can run here: what tokenizing an event and running the encoder cost.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import spedge
from spedge.base.paths import assets_dir
from spedge.bench.link import bench_link
from spedge.bench.model import bench_encoder
from spedge.boards.build import build
from spedge.boards.manifest import list_boards, load_board
from spedge.compile.measure.synthetic import Shape, random_bundle
from spedge.device.open import open_board
from spedge.jobs.play import load_events, play, recordings_for
from spedge.model.bundle import Bundle
from spedge.model.reference import Reference
from tests.bench.decoders import bench_decoders
from tests.bench.inputs import bench_inputs, clips_folder
from tests.bench.preprocess import bench_jobs, bench_preprocess
from tests.bench.tokenizer import bench_batch, bench_reference, bench_small_pushes

EVENTS = 2_000_000
SIDE = 320
PATCH = 16
REPEATS = 7
#: Boards whose link is measured, and lines in bytes a second; None: what this machine gives.
LINES: dict[str, tuple[float | None, ...]] = {
    "sim": (None, 12.5e6, 1.2e6),  # 100 Mbit/s, USB full speed
    "jetson": (None, 12.5e6),  # 100 Mbit/s Ethernet
    "mps2-an500": (None,),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--bundle", type=Path, default=assets_dir() / "gestures-pico")
    parser.add_argument("--recording", type=Path, default=None, help="default: the first one that comes with spedge")
    arguments = parser.parse_args()
    recording = arguments.recording or recordings_for(Bundle.load(arguments.bundle), assets_dir() / "recordings")[0]
    results = {
        "tokenizer": bench_tokenizer(),
        "decoders": bench_decoders(moving_blobs(), SIDE),
        "reference": bench_reference(),
        "batch": bench_batch(moving_blobs(), SIDE),
        "small pushes": bench_small_pushes(moving_blobs(), SIDE),
        "inputs": with_clips(bench_inputs),
        "preprocess": with_clips(bench_preprocess),
        "jobs": with_clips(bench_jobs),
        "link": bench_links(),
        "boards": bench_boards(arguments.bundle, recording),
    }
    print(json.dumps({"schema": 1, **results}, indent=2) if arguments.json else text(results))


def bench_tokenizer() -> list[dict[str, Any]]:
    """Best of REPEATS, as interference only ever makes it slower."""
    events = moving_blobs()
    columns = SIDE // PATCH

    def count() -> object:
        return np.bincount(events["y"] // PATCH * columns + events["x"] // PATCH, minlength=columns * columns)

    counting = best(count)
    rows = []
    configurations: dict[str, dict[str, Any]] = {
        "threshold only": {},
        "refractory periods": {"absolute_refractory_us": 100, "relative_refractory_us": 1000},
        "decay": {"decay_per_us": 1e-5},
    }
    for name, options in configurations.items():
        tokenizer = spedge.Tokenizer("continuous", width=SIDE, height=SIDE, patch_size=PATCH, threshold=256, **options)

        def push(tokenizer: spedge.Tokenizer = tokenizer) -> object:
            tokenizer.reset()
            return tokenizer.push(events)

        seconds = best(push)
        rows.append(
            {
                "configuration": name,
                "events_per_s": round(len(events) / seconds),
                "times_bincount": round(seconds / counting, 2),
            }
        )
    return rows


def bench_native() -> list[dict[str, Any]]:
    """The same encoder, compiled by us and by ONNX Runtime, one after the other."""
    shape = Shape(tokens=64, hidden=64, intermediate=128, heads=4, layers=2, classes=11)
    ours = bench_encoder(random_bundle(shape), shape.tokens, "sim")
    reference = Reference(random_bundle(shape))
    rows = np.random.default_rng(1).normal(0, 1, (shape.tokens, shape.hidden)).astype(np.float32)
    reference.encode(rows)
    theirs = min(best(lambda: reference.encode(rows)) for _ in range(30))
    own = (ours.ns or 0) / 1000
    return [
        {
            "encoder": f"{shape.tokens} tokens, hidden {shape.hidden}, {shape.layers} layers",
            "native_us": round(own, 1),
            "onnxruntime_us": round(theirs * 1e6, 1),
            "times_onnxruntime": round(own / (theirs * 1e6), 2),
        }
    ]


def bench_boards(bundle_path: Path, recording: Path) -> list[dict[str, Any]]:
    bundle = Bundle.load(bundle_path)
    events = load_events(recording, bundle)
    rows = []
    for board in list_boards():
        if board.missing:
            print(f"{board.name} is left out: apt-get install {' '.join(board.packages_missing)}", file=sys.stderr)
            continue
        firmware = build(board, bundle)
        start = time.perf_counter()
        with open_board(board, firmware.path) as device:
            (opinion,) = play(device, bundle, events)
            stats = device.stats()
        rows.append(
            {
                "board": board.name,
                "unit": board.cost_unit,
                "tokenize_per_event": round(stats.cost_tokenize / stats.taken, 1),
                "embed_per_token": round(stats.cost_embed / max(stats.tokens, 1)),
                "encode": opinion.encode_cost,
                "flash_bytes": firmware.flash_bytes,
                "memory_bytes": stats.memory_used,
                "wall_s": round(time.perf_counter() - start, 2),
            }
        )
    return rows


def with_clips(bench: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    if not clips_folder().is_dir():
        print(f"{bench.__name__} is left out: there is no {clips_folder()} (set SPEDGE_SHARED)", file=sys.stderr)
        return []
    return bench()


def bench_links() -> list[dict[str, Any]]:
    """Events with and without the protocol, and raw bytes: on the line as it is here, and as boards have it."""
    rows = []
    for name, rates in LINES.items():
        if load_board(name).missing:
            print(f"{name} is left out: apt-get install {' '.join(load_board(name).packages_missing)}", file=sys.stderr)
            continue
        rows += [bench_link(name, line_rate=rate).to_json() for rate in rates]
    return rows


def moving_blobs() -> NDArray[np.void]:
    """EVENTS events of a few blobs on noise, 1 us apart."""
    random = np.random.default_rng(0)
    events = np.zeros(EVENTS, spedge.EVENT_DTYPE)
    events["t"] = np.arange(EVENTS)
    phase = events["t"] / EVENTS * 2 * np.pi + random.integers(0, 5, EVENTS)
    for name, wave in (("x", np.cos), ("y", np.sin)):
        blob = SIDE / 2 + SIDE / 3 * wave(phase) + random.normal(0, 8, EVENTS)
        noise = random.uniform(0, SIDE, EVENTS)
        events[name] = np.where(random.random(EVENTS) < 0.2, noise, blob).clip(0, SIDE - 1)
    events["p"] = random.integers(0, 2, EVENTS)
    return events


def best(function: Callable[[], object]) -> float:
    """Seconds of the quickest run."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def text(results: dict[str, list[dict[str, Any]]]) -> str:
    lines = []
    for name, rows in results.items():
        lines.append(name)
        lines += [
            "  "
            + ", ".join(
                f"{key} {value:,}" if isinstance(value, int | float) else str(value) for key, value in row.items()
            )
            for row in rows
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
