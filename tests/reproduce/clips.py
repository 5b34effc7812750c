"""The road from recordings to checked bundles, on eight real gestures of DvsGesture.

    make reproduce-clips    # some ten minutes of two cores; begun again, it goes on

The clips are written out as the data set is published, every user with the same ones: this shows the road, not an
accuracy. Then each command is run as it would be typed, until every model fits all clips, and its bundle computes what
torch does. Writes table.md, table.json and a picture of each confusion matrix. Exit code 1 where a model does not fit
or a bundle differs, 4 where the clips are not there.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import spedge
from spedge.base.errors import InputError, SpedgeError
from spedge.model.bundle import Bundle
from spedge.model.reference import Reference
from spedge.training.checkpoint import load_checkpoint
from spedge.training.data.base import Sample
from spedge.training.data.dvsgesture import DESCRIPTION, SIDE
from spedge.training.data.registry import load_dataset
from tests.dataset_files import Gesture, dvsgesture

DATA = Path(os.environ.get("SPEDGE_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "data/dvsgesture-clips"
TOLERANCE = 1e-4  #: of a bundle's logits against torch's
#: Samples as they are, and an end when all clips are right. A GNN needs steps until its norms know what is usual.
LEARN = "--accumulate 1 --workers 0 --no-augment --stop-accuracy 1"
MODELS = {
    "DG-T-SP": f"--size nano --steps 400 --learning-rate 1e-3 --batch 8 {LEARN}",
    "DG-GNN-SP": f"--steps 160 --batch 2 {LEARN}",
    "DG-PCN-SP": f"--steps 800 --batch 4 {LEARN}",
}


@dataclass(frozen=True)
class Row:
    """What came of a preset. seconds: of training. accuracy: of the clips. tokens: of a sample, and of a second of
    events. difference: the largest of a logit between the bundle and torch, over all samples."""

    preset: str
    options: str
    parameters: int
    steps: int
    seconds: float
    accuracy: float
    tokens: float
    tokens_a_second: float
    difference: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reproduce.clips", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the clips, CLASS.bin")
    parser.add_argument("--out", type=Path, default=Path("reproduce-clips"))
    given = parser.parse_args()
    start = time.monotonic()
    try:
        rows = reproduce(given.data, given.out)
    except SpedgeError as error:
        print(f"spedge: error: {error}", file=sys.stderr)
        return error.exit_code
    except subprocess.CalledProcessError as error:  # the command has said why
        return error.returncode
    except KeyboardInterrupt:
        print("interrupted: the same again goes on", file=sys.stderr)
        return 130
    text = markdown(rows)
    print(f"\n{text}\n\n{time.monotonic() - start:.0f} s; all of it is in {given.out}")
    (given.out / "table.md").write_text(text + "\n")
    (given.out / "table.json").write_text(json.dumps({"schema": 1, "rows": [asdict(row) for row in rows]}) + "\n")
    wrong = problems(rows)
    print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


def reproduce(data: Path, out: Path) -> list[Row]:
    """Walk the road for each of MODELS, with the options of its training. What is in `out` is gone on with.

    Raises InputError without clips; CalledProcessError when a command fails.
    """
    print(f"Eight clips of {data}, as DvsGesture is published: {out / 'DvsGesture'}")
    dvsgesture(out, read_clips(data))
    spedge_command("datasets", "dvsgesture", out)
    spedge_command("preprocess", "dvsgesture", "--data", out, "--out", out / "store", "--jobs", 2)
    samples = load_dataset("dvsgesture", out / "store").test
    return [walk(preset, options, out, samples) for preset, options in MODELS.items()]


def walk(preset: str, options: str, out: Path, samples: Sequence[Sample]) -> Row:
    """Train, evaluate and export one preset, and compare its bundle with torch."""
    store, run, bundle = out / "store", out / "runs" / preset, out / "bundles" / preset
    start = time.monotonic()
    trained = spedge_command("train", preset, "--data", store, "--run", run, *options.split(), "--no-bundle")
    seconds = time.monotonic() - start
    spedge_command("export", run, "--out", bundle)
    spedge_command("evaluate", run, "--data", store, "--split", "test", "--picture", out / f"{preset}.png")
    seen = spedge_command("evaluate", bundle, "--data", store, "--split", "test")
    return Row(
        preset,
        options,
        sum(p.numel() for p in load_checkpoint(run).model().parameters()),
        trained["steps"],
        round(seconds, 1),
        seen["top1"],
        seen["tokens_per_slice"],
        seen["tokens_per_second"],
        largest_difference(run, bundle, samples),
    )


def read_clips(folder: Path) -> list[Gesture]:
    """Class from 1 and events of each clip CLASS.bin of a folder, five bytes an event as N-MNIST's.

    Raises InputError when there is none, or one that is not a recording.
    """
    files = {int(path.stem): path for path in folder.glob("*.bin") if path.stem.isdecimal()}
    if not files or not 1 <= min(files) <= max(files) <= len(DESCRIPTION.labels):
        raise InputError(
            f"There are no clips 1.bin to 11.bin in {folder}: --data or SPEDGE_SHARED says where they are."
        )
    return [
        (label, spedge.open(path, width=SIDE, height=SIDE, sort=True).events().tolist())
        for label, path in sorted(files.items())
    ]


def largest_difference(run: Path, bundle: Path, samples: Sequence[Sample]) -> float:
    """The largest of a logit between what ONNX Runtime makes of a bundle and what torch makes of its run."""
    import torch

    from spedge.training.represent.collate import Item, collate
    from spedge.training.represent.samples import Represent

    checkpoint, reference = load_checkpoint(run), Reference(Bundle.load(bundle))
    model, represent = checkpoint.model(), Represent(checkpoint.spec)
    largest = 0.0
    for sample in samples:
        label = np.zeros(len(checkpoint.spec.labels), np.float32)
        batch = collate([Item(represent(sample.events), label, 0)])
        assert batch.inputs is not None
        with torch.no_grad():
            expected = model.of_batch(batch.inputs)[0].numpy()  # type: ignore[arg-type]
        largest = max(largest, float(np.abs(reference.compute(sample.events).logits - expected).max()))
    return largest


def spedge_command(*arguments: object) -> Any:
    """Run a command as it would be typed, saying it and how long it took; what it says as JSON."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ spedge {shlex.join(words)}", flush=True)
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "spedge", *words, "--json"], stdout=subprocess.PIPE, check=True)
    said = json.loads(done.stdout)
    shown = {name: value for name, value in said.items() if isinstance(value, str | int | float)}
    print(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items()))
    print(f"{time.monotonic() - start:.1f} s", flush=True)
    return said


def problems(rows: Sequence[Row]) -> list[str]:
    """What does not fit or differs: sentences."""
    unfit = [f"{row.preset} has {row.accuracy:.0%} of the clips after {row.steps} steps." for row in rows]
    differ = [f"The bundle of {row.preset} and torch differ by {row.difference:.1e}." for row in rows]
    return [text for row, text in zip(rows, unfit, strict=True) if row.accuracy < 1] + [
        text for row, text in zip(rows, differ, strict=True) if not row.difference <= TOLERANCE
    ]


def markdown(rows: Sequence[Row]) -> str:
    """The table."""
    lines = [
        "| preset | parameters | steps | seconds | clips right | tokens a sample | a second | logits differ by |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        lines.append(
            f"| {row.preset} | {row.parameters:,} | {row.steps} | {row.seconds:.0f} | {row.accuracy:.0%} "
            f"| {row.tokens:.0f} | {row.tokens_a_second:.0f} | {row.difference:.1e} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
