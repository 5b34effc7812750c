"""spedge bench: measurements, one verb for each thing that is measured."""

from __future__ import annotations

import typer

from spedge.cli.bench.decoder import decoder
from spedge.cli.bench.link import link
from spedge.cli.bench.model import encoder, model
from spedge.cli.bench.products import products
from spedge.cli.bench.tokenizer import tokenizer

app = typer.Typer(no_args_is_help=True, help="Measure what things cost, here and on boards.")
app.command()(tokenizer)
app.command()(decoder)
app.command()(model)
app.command()(encoder)
app.command()(products)
app.command()(link)
