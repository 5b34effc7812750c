"""spedge bundle: bundles of models that were made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spedge.cli.common import JsonOption, print_json, progress
from spedge.cli.reading import reads
from spedge.recordings import Reading

app = typer.Typer(no_args_is_help=True, help="Make bundles of models from elsewhere.")


@app.command()
@reads
def new(
    encoder: Annotated[Path, typer.Argument(metavar="ENCODER.onnx", help="tokens and length to logits.")],
    recordings: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RECORDING]...", help="Samples for the bundle to keep; made up when there are none."),
    ] = None,
    settings: Annotated[
        Path, typer.Option(help="JSON: sensor, labels, tokenizer, embedding; see docs/bundle.md.", show_default=False)
    ] = ...,  # type: ignore[assignment]
    embedding: Annotated[
        Path, typer.Option(help=".npz of weight [hidden, cells] and bias [hidden].", show_default=False)
    ] = ...,  # type: ignore[assignment]
    out: Annotated[Path, typer.Option(help="The bundle's folder.", show_default=False)] = ...,  # type: ignore[assignment]
    *,
    reading: Reading,
    as_json: JsonOption = False,
) -> None:
    """A bundle of an encoder in ONNX, a tokenizer's settings and labels.

    It is verified: no row behind length may matter, and the graph with the embedding, which is written here, must agree
    with the encoder on the samples. What takes bundles takes it then.
    """
    from spedge.jobs.bundle_new import new_bundle

    with progress("Making the bundle"):
        made = new_bundle(encoder, settings, embedding, out, recordings or (), reading)
    document = {
        "bundle": str(made.bundle.path),
        "name": made.bundle.name,
        "hash": made.bundle.hash,
        "samples": made.samples,
        "largest_difference": made.difference,
    }
    if as_json:
        print_json(document)
    else:
        print(
            f"{made.bundle.path}: {made.bundle.name}, {made.bundle.tokens} tokens, {len(made.bundle.labels)} labels; "
            f"verified on {made.samples} samples (largest difference {made.difference:.1e})"
        )
