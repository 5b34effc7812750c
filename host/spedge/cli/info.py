"""spedge info: what a recording or a bundle holds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spedge.base.errors import InputError
from spedge.base.paths import bundle_named
from spedge.cli.common import (
    JsonOption,
    print_json,
    print_pairs,
    progress,
)
from spedge.cli.reading import reads
from spedge.model.parts import Detector, TokenInput

if TYPE_CHECKING:
    from spedge.model.bundle import Bundle
    from spedge.recordings import Reading
    from spedge.recordings.info import RecordingInfo


@reads
def command(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="RECORDING|BOXES|BUNDLE",
            help="A recording's file, one of boxes (*_bbox.npy), or a bundle.",
        ),
    ],
    *,
    reading: Reading,
    as_json: JsonOption = False,
) -> None:
    """Show what a recording, a file of boxes, or a bundle holds.

    A recording that is damaged or cut off is counted up to there, and the exit code is 4.
    """
    from spedge.recordings.ros import is_bag

    path = bundle_named(path)
    if path.is_dir() and not is_bag(path):
        from spedge.model.bundle import Bundle

        _print(_bundle_document(Bundle.load(path)), as_json)
        return
    if path.name.endswith("_bbox.npy"):
        from spedge.training.data.boxes import box_info

        _print({"path": str(path), **asdict(box_info(path))}, as_json)
        return
    from spedge.recordings.info import recording_info

    with progress(f"Reading {path.name}") as say:
        info = recording_info(
            path,
            on_progress=lambda count: say(f"Reading {path.name}: {count:,} events"),
            **asdict(reading),
        )
    _print(_recording_document(info), as_json)
    if info.problem:
        raise InputError(info.problem)


def _print(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        left_out = document.pop("left_out", {})
        pairs = {name: value for name, value in document.items() if name != "problem"}
        print_pairs({**pairs, **{f"left out, {name}": count for name, count in left_out.items()}})


def _recording_document(info: RecordingInfo) -> dict[str, Any]:
    return {
        "path": str(info.path),
        "format": info.format,
        "layout": info.layout or None,
        "width": info.width,
        "height": info.height,
        "size_from": info.size_from,
        "events": info.events,
        "on_events": info.on_events,
        "off_events": info.events - info.on_events,
        "first_us": info.first_us,
        "last_us": info.last_us,
        "duration_us": info.duration_us,
        "mean_events_per_s": round(info.mean_rate, 1),
        "peak_events_per_s": round(info.peak_rate, 1),
        "longest_gap_us": info.longest_gap_us,
        "triggers": info.triggers,
        "left_out": info.left_out,
        "problem": info.problem,
    }


def _bundle_document(bundle: Bundle) -> dict[str, Any]:
    """What a bundle says about itself; the fields of its kind only."""
    seen, metric = bundle.representation, bundle.metric
    encoder = bundle.model.encoder if isinstance(bundle.model, Detector) else bundle.model
    document: dict[str, Any] = {
        "path": str(bundle.path),
        "format": "bundle",
        "name": bundle.name,
        "preset": bundle.preset,
        "hash": bundle.hash,
        "width": bundle.sensor.width,
        "height": bundle.sensor.height,
        "task": bundle.task.type,
        "representation": seen.type,
    }
    if isinstance(seen, TokenInput):
        settings = asdict(seen.tokenizer)
        document |= {"tokenizer": settings.pop("kind")}
        document |= {name: value for name, value in settings.items() if name not in ("width", "height", "pool_events")}
        document |= {"buckets": seen.embedding.buckets, "time_scale_us": seen.embedding.time_scale_us}
    else:
        document |= asdict(seen)
    return document | {
        "encoder": encoder.type,
        **asdict(encoder),
        **({"grid_and_head": asdict(bundle.model)} if isinstance(bundle.model, Detector) else {}),
        "tokens": bundle.tokens,
        "labels": list(bundle.labels),
        "outputs": {output.name: list(output.shape) for output in bundle.outputs},
        "metric": metric.name if metric else None,
        "top1": metric.value if metric and metric.name == "top1" else None,
        "top1_samples": metric.samples if metric and metric.name == "top1" else None,
        "top1_split": metric.split if metric and metric.name == "top1" else None,
    }
