"""N-MNIST in one table: spiking patches beside voxels, full beside causal attention, fp32 beside int8.

    make reproduce-nmnist    # an hour of one core: six trainings of some six minutes; begun again, it goes on

Each model is trained as `spedge train` does, with one share of the digits held out for each seed, the same for all
models of it; or it is counted on digits of your own (--test). Its int8 version is what `spedge compile --precision
int8` makes, computed by ONNX Runtime. Writes table.md and table.json beside the runs. Exit code 1 where a figure is
lower than is claimed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from spedge.compile import quantised_encoder
from spedge.model.bundle import Bundle
from spedge.model.reference import Reference
from spedge.training.data.base import Sample
from spedge.training.data.registry import load_dataset
from spedge.training.train import train

DATA = Path(os.environ.get("SPEDGE_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "data/nmnist-800.zip"
SEEDS = (0, 1)
#: A quarter, 199 digits: of the tenth that `spedge train` holds out one digit would be 1.3 points.
HOLDOUT = 0.25
#: What is claimed: accuracy of the first model, and how much less its versions may have.
LEAST, LESS = 0.955, 0.01


@dataclass(frozen=True)
class Model:
    """A model of the table, and the precisions in which it is counted."""

    representation: str
    attention: str
    preset: str
    precisions: tuple[str, ...] = ("fp32", "int8")


MODELS = (
    Model("spiking patches", "full", "nmnist-pico"),
    Model("spiking patches", "causal", "nmnist-pico"),
    Model("voxels", "full", "nmnist-pico-voxel", ("fp32",)),  # the compiler goes by the continuous tokenizer
)


@dataclass(frozen=True)
class Row:
    """seed: None for all seeds together. tokens: that a model is fed, mean of the digits. cpu_seconds: of training."""

    seed: int | None
    representation: str
    attention: str
    precision: str
    accuracy: float
    right: int
    held_out: int
    tokens: float
    cpu_seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reproduce.nmnist", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="zip file or folder of N-MNIST")
    parser.add_argument("--test", type=Path, default=None, help="digits to count, in the place of held-out ones")
    parser.add_argument("--out", type=Path, default=Path("reproduce-nmnist"))
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--holdout", type=float, default=HOLDOUT)
    parser.add_argument("--minutes", type=float, default=None, help="of CPU time for each model; default: the preset's")
    given = parser.parse_args()
    rows = reproduce(given.data, given.out, given.seeds, given.holdout, given.minutes, given.test, progress)
    table = [*rows, *together(rows)]
    text = markdown(table)
    print(text)
    (given.out / "table.md").write_text(text + "\n")
    (given.out / "table.json").write_text(json.dumps({"schema": 1, "rows": [asdict(row) for row in table]}) + "\n")
    low = problems(table)
    print("\n".join(low), file=sys.stderr)
    return 1 if low else 0


def reproduce(
    data: Path,
    out: Path,
    seeds: Iterable[int] = SEEDS,
    holdout: float = HOLDOUT,
    minutes: float | None = None,
    test: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """Train, or go on with, each model of each seed, and count what it gets right in each precision.

    Runs are in `out`, which may hold those of a call before.
    """
    rows = []
    for seed in seeds:
        dataset = load_dataset("nmnist", data)
        digits = dataset.split(holdout, seed)[1] if test is None else everything(test)
        for model in MODELS:
            name = f"{model.preset}-{model.attention}-seed{seed}"
            report = train(
                model.preset,
                data,
                out / name,
                seed=seed,
                minutes=minutes,
                holdout=holdout,
                attention=model.attention,
                on_progress=lambda state, name=name: say(f"{name}: {state.done:.0%}"),  # type: ignore[misc]
            )
            assert report is not None
            assert report.bundle is not None
            for precision in model.precisions:
                right, tokens = counted(report.bundle, digits, precision)
                rows.append(
                    Row(
                        seed,
                        model.representation,
                        model.attention,
                        precision,
                        right / len(digits),
                        right,
                        len(digits),
                        tokens,
                        report.cpu_seconds,
                    )
                )
    return rows


def everything(data: Path) -> Sequence[Sample]:
    """All digits that there are."""
    dataset = load_dataset("nmnist", data)
    return [*dataset.train, *dataset.test]


def counted(bundle: Bundle, digits: Sequence[Sample], precision: str) -> tuple[int, float]:
    """How many of the digits the model gets right on the host, and the mean of the tokens that it is fed."""
    with TemporaryDirectory() as folder:
        encoder = None
        if precision != "fp32":
            encoder = Path(folder) / "encoder.onnx"
            quantised_encoder(bundle, precision, encoder, lambda _: None)
        reference = Reference(bundle, encoder)
        right, tokens = 0, 0
        for digit in digits:
            computed = reference.compute(digit.events)
            right += int(np.argmax(computed.logits)) == digit.label
            tokens += len(reference.window(computed.tokens))
        return right, tokens / len(digits)


def together(rows: Sequence[Row]) -> list[Row]:
    """The mean of all seeds, for each model and precision in turn."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.representation, row.attention, row.precision), []).append(row)
    return [
        Row(
            None,
            *key,
            accuracy=sum(row.right for row in group) / sum(row.held_out for row in group),
            right=sum(row.right for row in group),
            held_out=sum(row.held_out for row in group),
            tokens=float(np.mean([row.tokens for row in group])),
            cpu_seconds=float(np.mean([row.cpu_seconds for row in group])),
        )
        for key, group in groups.items()
    ]


def problems(rows: Sequence[Row]) -> list[str]:
    """What is lower than is claimed, of all seeds together: sentences."""
    all_seeds = {(row.representation, row.attention, row.precision): row for row in rows if row.seed is None}
    first = all_seeds[MODELS[0].representation, MODELS[0].attention, "fp32"]
    found = []
    if first.accuracy < LEAST:
        found.append(f"{MODELS[0].preset} has {first.accuracy:.1%}, and {LEAST:.1%} is claimed.")
    for (representation, attention, precision), row in all_seeds.items():
        if representation == first.representation and row.accuracy < first.accuracy - LESS:
            found.append(
                f"{representation}, {attention}, {precision} has {row.accuracy:.1%}: more than {100 * LESS:g} point "
                f"less than the {first.accuracy:.1%} of {first.attention}, {first.precision}."
            )
    return found


def markdown(rows: Sequence[Row]) -> str:
    """The table."""
    lines = [
        "| seed | representation | attention | precision | right | of | accuracy | tokens | CPU s of training |",
        "|---|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        seed = "all" if row.seed is None else row.seed
        lines.append(
            f"| {seed} | {row.representation} | {row.attention} | {row.precision} | {row.right} | {row.held_out} | "
            f"{row.accuracy:.1%} | {row.tokens:.1f} | {row.cpu_seconds:.0f} |"
        )
    return "\n".join(lines)


def progress(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
