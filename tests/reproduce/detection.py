"""Moving digits: made, preprocessed, learned, and found again where neither digit nor path was seen before.

    make reproduce-detection    # an hour of one core; begun again, it goes on

N-MNIST's digits fly over a sensor of GEN1's size (`spedge.training.data.moving_digits`); those of the test part are in
no other part, or are digits of your own (--test). Then a board gets the same recordings, and the boxes that it sends
are scored. Writes figures.json and frames.png (the best and the worst label times) beside the run. Exit code 1 where a
figure is lower than is claimed, or the board's differ from the model's.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spedge.cli import boxes, execute
from spedge.training.data import nmnist
from spedge.training.data.moving_digits import ROUNDS, parts_of, write
from spedge.training.evaluate_boxes import DetectionReport, evaluate_boxes
from spedge.training.opened import open_trained
from spedge.training.preprocess import preprocess
from spedge.training.train import TrainReport, train

DATA = Path(os.environ.get("SPEDGE_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "data/nmnist-800.zip"
PRESET = "nmnist-det-pico"
#: What is claimed of digits and paths that were never seen.
LEAST = {"mAP": 0.45, "mAP@.50": 0.75}
#: How much a board's figures may differ: a box whose score is at the threshold by rounding alone.
SAME = 0.002


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reproduce.detection", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="zip file or folder of N-MNIST")
    parser.add_argument("--test", type=Path, default=None, help="digits to test with, in the place of held-out ones")
    parser.add_argument("--out", type=Path, default=Path("reproduce-detection"))
    parser.add_argument("--seed", type=int, default=0, help="of paths and training")
    parser.add_argument("--minutes", type=float, default=None, help="of CPU time to train; default: the preset's")
    parser.add_argument("--board", default="sim", help="that gets the recordings, too")
    given = parser.parse_args()
    make(given.data, given.test, given.out, given.seed, progress)
    report = learn(given.out, given.seed, given.minutes, progress)
    found = score(given.out)
    sent = on_board(given.out, given.board, progress)
    document = {
        **boxes.document(found),
        "steps_learned": report.steps,
        "cpu_seconds_learned": report.cpu_seconds,
        given.board: sent,
    }
    (given.out / "figures.json").write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document, indent=1))
    low = [*problems(found.precision.figures), *differences(found.precision.figures, sent, given.board)]
    print("\n".join(low), file=sys.stderr)
    return 1 if low else 0


def make(
    data: Path,
    test: Path | None,
    out: Path,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
    rounds: int = ROUNDS,
) -> None:
    """Write the recordings to `out`/raw, and what training reads to `out`/store. What is there is kept."""
    asked = {"data": str(data), "test": None if test is None else str(test), "seed": seed, "rounds": rounds}
    done = out / "raw" / "made.json"
    if not done.exists() or json.loads(done.read_text()) != asked:
        digits, own = nmnist.load(data), None if test is None else nmnist.load(test)
        held = digits.test if own is None else [*own.train, *own.test]
        parts = parts_of(digits.train, held, seed)
        write(out / "raw", parts, seed, rounds={"train": rounds}, on_progress=lambda share: say(f"made: {share:.0%}"))
        done.write_text(json.dumps(asked) + "\n")
    preprocess("nmnist-det", out / "raw", out / "store", jobs=os.cpu_count() or 1)


def learn(
    out: Path, seed: int = 0, minutes: float | None = None, say: Callable[[str], None] = lambda _: None, **options: Any
) -> TrainReport:
    """Train in `out`/run, or go on there."""
    report = train(
        PRESET,
        out / "store",
        out / "run",
        seed=seed,
        minutes=minutes,
        on_progress=lambda state: say(f"learned: {state.done:.0%}"),
        **options,
    )
    assert report is not None
    return report


def score(out: Path) -> DetectionReport:
    """The kept model on the test part; its frames are drawn."""
    found = evaluate_boxes(open_trained(out / "run"), out / "store", "test")
    boxes.draw(found, out / "frames.png")
    return found


def on_board(out: Path, board: str, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """What `spedge evaluate --json` says of the boxes that a board sends of the recordings of the test part."""
    lines = out / f"boxes-{board}"
    lines.mkdir(exist_ok=True)
    recordings = sorted((out / "raw" / "test").glob("*_td.dat"))
    for number, path in enumerate(recordings):
        say(f"{board}: {number} of {len(recordings)} recordings")
        file = lines / f"{path.name.removesuffix('_td.dat')}.jsonl"
        said_by("run", out / "run", path, "--board", board, "--out", file)
    evaluated = said_by("evaluate", out / "run", "--data", out / "store", "--boxes", lines, "--json")
    document: dict[str, Any] = json.loads(evaluated)
    return document


def said_by(*command: Any) -> str:
    """What a command of spedge prints. Raises RuntimeError when it fails, which says why on stderr."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        code = execute([str(word) for word in command])
    if code:
        raise RuntimeError(f"'spedge {' '.join(map(str, command))}' ended with {code}")
    return text.getvalue()


def differences(figures: Mapping[str, float], sent: Mapping[str, float], board: str) -> list[str]:
    """Where a board's boxes are scored otherwise than the model's: sentences."""
    return [
        f"{name} is {sent[name]:.3f} of the boxes that {board} sends, and {figures[name]:.3f} of the model's."
        for name in LEAST
        if abs(sent[name] - figures[name]) > SAME
    ]


def problems(figures: Mapping[str, float]) -> list[str]:
    """What is lower than is claimed: sentences."""
    return [
        f"{name} is {figures[name]:.3f}, and {least} is claimed."
        for name, least in LEAST.items()
        if figures[name] < least
    ]


def progress(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
