"""spedge compile: a bundle to plain C."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spedge.cli.common import BundleArgument, JsonOption, print_json, progress


def command(
    bundle: BundleArgument,
    target: Annotated[str, typer.Option(help="cortex-m4, cortex-m7 or native.")],
    out: Annotated[Path, typer.Option(help="Folder for the C sources and the report.")],
    as_json: JsonOption = False,
) -> None:
    """Compile a bundle's encoder to plain C with TVM, and report flash, arena and work."""
    from spedge.build import require_tvm
    from spedge.bundle import Bundle

    loaded = Bundle.load(bundle)
    require_tvm()
    from spedge.compile import compile_bundle

    with progress(f"Compiling {loaded.name} for {target}") as say:
        report = compile_bundle(loaded, target, out, on_progress=say)
    if as_json:
        print_json(report.to_json())
    else:
        print(report.summary())
        print(out)
