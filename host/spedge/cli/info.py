"""spedge info: what a recording or a bundle holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spedge.base.errors import InputError
from spedge.cli.common import (
    CameraOption,
    ColumnsOption,
    HeightOption,
    JsonOption,
    OutsideOption,
    SortOption,
    TimeUnitOption,
    WidthOption,
    print_json,
    print_pairs,
    progress,
)

if TYPE_CHECKING:
    from spedge.model.bundle import Bundle
    from spedge.recordings.info import RecordingInfo


def command(
    path: Annotated[
        Path, typer.Argument(metavar="RECORDING|BUNDLE", help="A recording's file or a bundle's directory.")
    ],
    width: WidthOption = None,
    height: HeightOption = None,
    sort: SortOption = False,
    outside: OutsideOption = None,
    columns: ColumnsOption = None,
    time_unit: TimeUnitOption = None,
    camera: CameraOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a recording or a bundle holds.

    A recording that is damaged or cut off is counted up to there, and the exit code is 4.
    """
    if path.is_dir():
        from spedge.model.bundle import Bundle

        _print(_bundle_document(Bundle.load(path)), as_json)
        return
    from spedge.recordings.info import recording_info

    with progress(f"Reading {path.name}") as say:
        info = recording_info(
            path,
            width,
            height,
            lambda count: say(f"Reading {path.name}: {count:,} events"),
            sort,
            outside=outside,
            columns=columns,
            time_unit=time_unit,
            camera=camera,
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
        "events": info.events,
        "on_events": info.on_events,
        "off_events": info.events - info.on_events,
        "first_us": info.first_us,
        "last_us": info.last_us,
        "duration_us": info.duration_us,
        "mean_events_per_s": round(info.mean_rate, 1),
        "peak_events_per_s": round(info.peak_rate, 1),
        "longest_gap_us": info.longest_gap_us,
        "left_out": info.left_out,
        "problem": info.problem,
    }


def _bundle_document(bundle: Bundle) -> dict[str, Any]:
    tokenizer, encoder = bundle.tokenizer, bundle.encoder
    return {
        "path": str(bundle.path),
        "format": "bundle",
        "name": bundle.name,
        "preset": bundle.preset,
        "hash": bundle.hash,
        "width": bundle.sensor.width,
        "height": bundle.sensor.height,
        "tokenizer": tokenizer.kind,
        "patch_size": tokenizer.patch_size,
        "threshold": tokenizer.threshold,
        "absolute_refractory_us": tokenizer.absolute_refractory_us,
        "relative_refractory_us": tokenizer.relative_refractory_us,
        "relative_scale": tokenizer.relative_scale,
        "decay_per_us": tokenizer.decay_per_us,
        "buckets": bundle.embedding.buckets,
        "time_scale_us": bundle.embedding.time_scale_us,
        "encoder": encoder.type,
        "hidden": encoder.hidden,
        "intermediate": encoder.intermediate,
        "heads": encoder.heads,
        "layers": encoder.layers,
        "attention": encoder.attention,
        "tokens": bundle.tokens,
        "labels": list(bundle.labels),
        "top1": bundle.accuracy.top1 if bundle.accuracy else None,
        "top1_samples": bundle.accuracy.samples if bundle.accuracy else None,
        "top1_split": bundle.accuracy.split if bundle.accuracy else None,
    }
