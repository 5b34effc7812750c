"""spedge evaluate: how often a model is right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spedge.cli.common import JsonOption, print_json, progress, show, table
from spedge.cli.train import DataOption


def command(
    model: Annotated[Path, typer.Argument(metavar="BUNDLE|CHECKPOINT", help="A bundle, or what 'spedge train' wrote.")],
    data: DataOption = None,
    split: Annotated[str, typer.Option(help="unseen, test, train or all.")] = "unseen",
    as_json: JsonOption = False,
) -> None:
    """Classify a data set's recordings and say how many were right, class by class."""
    from spedge.training import evaluate

    with progress("Reading the data") as say:
        report = evaluate(model, data, split, on_progress=lambda done, total: say(f"{done} of {total} samples"))
    if as_json:
        print_json(
            {
                "model": str(report.model),
                "data": report.data,
                "split": report.split,
                "samples": report.samples,
                "top1": report.top1,
                "per_class": report.per_class,
                "labels": list(report.labels),
                "confusion": report.confusion.tolist(),
            }
        )
        return
    listing = table("", "class", "samples", "right", right=("samples", "right"))
    for index, label in enumerate(report.labels):
        if label in report.per_class:
            listing.add_row(label, str(report.confusion[index].sum()), f"{report.per_class[label]:.1%}")
    show(listing)
    print(f"{report.top1:.1%} of {report.samples} samples of {report.data} ({report.split}) right")
