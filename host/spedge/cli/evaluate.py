"""spedge evaluate: how often a model is right."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spedge.base.errors import UsageError
from spedge.cli import boxes
from spedge.cli.common import HtmlOption, JsonOption, PrecisionOption, print_json, progress, show, table
from spedge.cli.train import DataOption, model_folder

if TYPE_CHECKING:
    from spedge.training.evaluate import EvaluationReport


def command(
    model: Annotated[
        Path, typer.Argument(metavar="BUNDLE|RUN|CHECKPOINT", help="A bundle, or what 'spedge train' wrote.")
    ],
    data: DataOption = None,
    split: Annotated[str, typer.Option(help="unseen, test, validation, train or all.")] = "unseen",
    checkpoint: Annotated[str, typer.Option(help="Of a run: kept, best or last.")] = "kept",
    precision: PrecisionOption = "fp32",
    picture: Annotated[
        Path | None,
        typer.Option(
            help="Draw the confusion matrix, or a detector's best and worst frames, into this PNG file.",
            show_default=False,
        ),
    ] = None,
    said: Annotated[
        Path | None,
        typer.Option(
            "--boxes",
            help="Score boxes that a device has found, FOLDER/RECORDING.jsonl, in the place of the model's.",
            show_default=False,
        ),
    ] = None,
    html: HtmlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Classify a data set's recordings and say how many were right, class by class; or score the boxes of a detector.

    With --precision int8 or int8w a bundle is evaluated twice: as it is, and in that precision, calibrated on samples
    that it has learned.
    """
    from spedge.training import evaluate
    from spedge.training.opened import is_detector

    folder = model_folder(model)
    if is_detector(folder):
        if precision != "fp32":
            raise UsageError(f"{folder} is a detector, which is evaluated in fp32: leave --precision out.")
        boxes.evaluate(folder, data, split, checkpoint, picture, said, html, as_json)
        return
    if said is not None:
        raise UsageError(f"{folder} is no detector: leave --boxes out.")
    with progress("Reading the data") as say, tempfile.TemporaryDirectory() as scratch:

        def count(done: int, total: int) -> None:
            say(f"{done} of {total} samples")

        whole = None
        encoder = None if precision == "fp32" else _quantised(folder, checkpoint, precision, Path(scratch), say)
        if encoder is not None:
            whole = evaluate(folder, data, split, checkpoint, on_progress=count)
        report = evaluate(folder, data, split, checkpoint, on_progress=count, encoder=encoder)
    if picture is not None:
        from spedge.view.confusion import draw

        draw(report.confusion, report.labels, picture)
    both = {} if whole is None else {"precision": precision, "fp32": {"top1": whole.top1, "loss": whole.loss}}
    if html is not None:
        from spedge.view.reports import evaluation_page, write

        write(html, evaluation_page(_document(report) | both, folder))
    if as_json:
        print_json(_document(report) | both)
        return
    listing = table("", "class", "samples", "right", right=("samples", "right"))
    for index, label in enumerate(report.labels):
        if label in report.per_class:
            listing.add_row(label, str(report.confusion[index].sum()), f"{report.per_class[label]:.1%}")
    show(listing)
    _show_confusion(report)
    _show_stages(report)
    print(
        f"{report.top1:.1%} of {report.samples} samples of {report.data} ({report.split}) right, loss {report.loss:.3f}"
    )
    if whole is not None:
        print(f"that is in {precision}; in fp32 {whole.top1:.1%}, loss {whole.loss:.3f}")


def _quantised(folder: Path, checkpoint: str, precision: str, scratch: Path, say: Callable[[str], None]) -> Path:
    """The encoder of a bundle in that precision."""
    from spedge.model.bundle import Bundle

    if checkpoint != "kept":
        raise UsageError("--precision is for bundles, which have the kept checkpoint: leave --checkpoint out")
    bundle = Bundle.load(folder)
    if importlib.util.find_spec("onnx") is None:
        raise UsageError("a model in 8 bits needs onnx: pip install 'spedge[compile]'")
    from spedge.compile import quantised_encoder

    encoder = scratch / "encoder.onnx"
    quantised_encoder(bundle, precision, encoder, say)
    return encoder


def _show_confusion(report: EvaluationReport) -> None:
    numbers = [str(number) for number in range(len(report.labels))]
    matrix = table("confusion: class, and what it was taken for", "", "class", *numbers, right=("", *numbers))
    for number, (label, row) in enumerate(zip(report.labels, report.confusion.tolist(), strict=True)):
        matrix.add_row(str(number), label, *(str(count) if count else "·" for count in row))
    show(matrix)


def _show_stages(report: EvaluationReport) -> None:
    stages = table("milliseconds a slice", "stage", "p50", "p90", "p99", right=("p50", "p90", "p99"))
    for stage, values in report.milliseconds.items():
        stages.add_row(stage, *(f"{values[name]:.2f}" for name in ("p50", "p90", "p99")))
    show(stages)
    if len(report.tokens):
        print(
            f"{report.slices} slices, {report.tokens.mean():.0f} tokens each on average "
            f"({report.tokens.min()} to {report.tokens.max()}), {report.token_rate:.0f} tokens a second"
        )


def _document(report: EvaluationReport) -> dict[str, Any]:
    return {
        "model": str(report.model),
        "data": report.data,
        "split": report.split,
        "samples": report.samples,
        "top1": report.top1,
        **report.metrics,
        "loss": report.loss if report.loss == report.loss else None,
        "per_class": report.per_class,
        "labels": list(report.labels),
        "confusion": report.confusion.tolist(),
        "slices": report.slices,
        "tokens_per_slice": float(report.tokens.mean()) if len(report.tokens) else None,
        "tokens_per_second": report.token_rate if report.token_rate == report.token_rate else None,
        "milliseconds": report.milliseconds,
    }
