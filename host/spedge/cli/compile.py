"""spedge compile: a bundle to plain C."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spedge.cli.common import (
    BundleArgument,
    JsonOption,
    PrecisionOption,
    byte_count,
    print_json,
    print_pairs,
    progress,
)

if TYPE_CHECKING:
    from spedge.compile import CompileReport


def command(
    bundle: BundleArgument,
    target: Annotated[str, typer.Option(help="cortex-m4, cortex-m7 or native.")],
    out: Annotated[Path, typer.Option(help="Folder for the C sources and the report.")],
    precision: PrecisionOption = "fp32",
    as_json: JsonOption = False,
) -> None:
    """Compile a bundle's encoder to plain C with TVM, and report flash, arena and work."""
    from spedge.build import require_tvm
    from spedge.bundle import Bundle

    loaded = Bundle.load(bundle)
    require_tvm()
    from spedge.compile import compile_bundle

    with progress(f"Compiling {loaded.name} for {target}") as say:
        report = compile_bundle(loaded, target, out, on_progress=say, precision=precision)
    document = json.loads(report.to_json())
    if as_json:
        print_json({**document, "out": str(out)})
        return
    print_pairs(
        {
            "model": f"{report.name} ({report.bundle_hash[:12]})",
            "target": report.target,
            "precision": report.precision,
            "flash": f"{byte_count(report.flash_bytes)} of constants",
            "arena": f"{byte_count(report.arena_bytes)} of RAM",
            "work": f"{report.macs:,} multiply-accumulates with all {report.tokens} tokens",
            "kernels": f"{len({kernel.kernel for kernel in report.kernels})}, called {_calls(report):,} times",
            "out": str(out),
        }
    )


def _calls(report: CompileReport) -> int:
    """Kernel calls of one inference with all tokens present."""
    return sum(kernel.calls for kernel in report.kernels)
