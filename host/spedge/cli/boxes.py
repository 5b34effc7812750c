"""What `spedge evaluate` does with a detector, and boxes of files for `spedge render`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.cli.common import print_json, progress, require_view, show, table

if TYPE_CHECKING:
    from spedge.training.evaluate_boxes import DetectionReport
    from spedge.view.scene import Scene

BoxesOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="Draw the boxes of a file: labels (*_bbox.npy), or JSON lines of a detector. May be given again.",
        show_default=False,
    ),
]
_SIZES = {"all": "of all", "S": "below 32² px", "M": "to 96² px", "L": "above"}


def evaluate(
    model: Path,
    data: Path | None,
    split: str,
    checkpoint: str,
    picture: Path | None,
    said: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Detect in all recordings of the split, and say how good the boxes are. `unseen` is the test part.

    picture: a PNG file for the best and the worst frames. said: a folder with what another has found. html: a file for
    a report.
    """
    if picture is not None or html is not None:
        require_view("pillow")
    from spedge.training.evaluate_boxes import evaluate_boxes
    from spedge.training.opened import open_trained

    with progress("Reading the data") as say:
        opened = open_trained(model, checkpoint)
        report = evaluate_boxes(
            opened,
            data,
            "test" if split == "unseen" else split,
            on_progress=lambda done, total: say(f"{done} of {total} steps"),
            said=None if said is None else _reader(said, opened.spec.labels),
        )
    if picture is not None:
        draw(report, picture)
    if html is not None:
        _write_html(html, report)
    if as_json:
        print_json(document(report))
        return
    listing = table("", "class", "mAP", "mAP@.50", right=("mAP", "mAP@.50"))
    for number, (whole, half) in report.precision.per_class.items():
        listing.add_row(report.labels[number], f"{whole:.3f}", f"{half:.3f}")
    show(listing)
    sizes = table("labels found at IoU .50", "size", "share", right=("share",))
    for size, share in report.precision.recall.items():
        sizes.add_row(_SIZES[size], "none there" if share < 0 else f"{share:.1%}")
    show(sizes)
    figures = ", ".join(f"{name} {value:.3f}" for name, value in report.precision.figures.items() if value >= 0)
    if report.steps:
        print(
            f"{report.steps} steps of {len(report.recordings)} recordings, {report.tokens.mean():.0f} tokens each, "
            f"{1000 * sum(report.seconds.values()) / report.steps:.1f} ms a step"
        )
    print(f"{figures or 'no label counts'}: {report.precision.labels} labels of {report.data} ({report.split})")


def _reader(folder: Path, labels: Sequence[str]) -> Callable[[str], NDArray[np.void]]:
    """What finds a recording's boxes in a folder of JSON lines, whose files lie in folders of the parts, or in none.

    Raises InputError for one that is not there, or has other classes.
    """
    from spedge.view.boxes import said_boxes

    def read(name: str) -> NDArray[np.void]:
        own, within = folder / f"{Path(name).name}.jsonl", folder / f"{name}.jsonl"
        file = own if own.exists() else within
        boxes, names = said_boxes(file, labels)
        if len(names) > len(labels) or (boxes["label"] >= len(labels)).any():
            raise InputError(f"{file} has boxes of other classes than {', '.join(labels)}: it is of another model.")
        return boxes

    return read


def _write_html(path: Path, report: DetectionReport) -> None:
    from spedge.view.reports import detection_page, write

    with tempfile.TemporaryDirectory() as scratch:
        picture = Path(scratch) / "frames.png"
        draw(report, picture)
        write(path, detection_page(document(report), picture.read_bytes()))


def draw(report: DetectionReport, picture: Path) -> None:
    """The best and the worst frames, into a PNG file."""
    from spedge.view.frames import Shot, draw_frames

    rows = []
    for title, frames in (("best frames", report.best), ("worst frames", report.worst)):
        shots = [
            Shot(
                f"{frame.recording}, {frame.score.t / 1e6:.3f} s: "
                f"{frame.score.right} right, {frame.score.missed} missed, {frame.score.wrong} wrong",
                frame.score.t,
                frame.events,
                frame.score.labels,
                frame.score.found,
            )
            for frame in frames
        ]
        rows.append((title, shots))
    draw_frames(rows, report.size, report.labels, picture)


def beside(recording: Path) -> list[Path]:
    """The labels that lie beside a recording, as detection sets have them: NAME_bbox.npy of NAME_td.dat, or of NAME."""
    file = recording.with_name(f"{recording.stem.removesuffix('_td')}_bbox.npy")
    return [file] if file.is_file() else []


def shown(files: Sequence[Path], scene: Scene) -> Scene:
    """A scene with boxes of files, besides its own: labels of `_bbox.npy`, and what a detector said, in JSON lines."""
    from spedge.training.data.boxes import read_boxes
    from spedge.view.boxes import said_boxes, together, truths

    names = scene.results.labels if scene.results is not None else scene.names
    parts = [scene.boxes]
    for file in files:
        if file.suffix == ".npy":
            parts.append(truths(read_boxes(file, None, None)))
        else:
            said, names = said_boxes(file, names)
            parts.append(said)
    return replace(scene, boxes=together(parts), names=names)


def document(report: DetectionReport) -> dict[str, Any]:
    """As `--json` prints it. A figure of -1: there is no such label."""
    return {
        "model": str(report.model),
        "data": report.data,
        "split": report.split,
        "recordings": len(report.recordings),
        "steps": report.steps,
        "labels": report.precision.labels,
        **report.precision.figures,
        "per_class": {report.labels[k]: list(pair) for k, pair in report.precision.per_class.items()},
        "recall": report.precision.recall,
        "tokens_per_step": float(report.tokens.mean()) if report.steps else None,
        "seconds": report.seconds,
    }
