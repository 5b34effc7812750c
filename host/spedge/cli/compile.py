"""spedge compile: a bundle or an ONNX file to plain C."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spedge.cli.common import JsonOption, byte_count, print_json, print_pairs, progress

if TYPE_CHECKING:
    from spedge.compile import CompileReport


def command(
    model: Annotated[
        Path, typer.Argument(metavar="BUNDLE|FILE.onnx", help="Bundle directory, or an ONNX file of another model.")
    ],
    target: Annotated[str, typer.Option(help="cortex-m4, cortex-m7 or native.")],
    out: Annotated[Path, typer.Option(help="Folder for the C sources and the report.")],
    as_json: JsonOption = False,
) -> None:
    """Compile a bundle's encoder, or any ONNX model of supported operators, to plain C with TVM.

    Reports flash, arena and work. A file whose name ends in .onnx needs no bundle: it is compiled with its own fixed
    shape and the same interface.
    """
    from spedge.build import require_tvm
    from spedge.bundle import Bundle

    is_file = model.suffix == ".onnx" and not model.is_dir()
    loaded = None if is_file else Bundle.load(model)
    require_tvm()
    from spedge.compile import compile_bundle, compile_onnx

    with progress(f"Compiling {loaded.name if loaded else model.name} for {target}") as say:
        if loaded is None:
            report = compile_onnx(model, target, out, on_progress=say)
        else:
            report = compile_bundle(loaded, target, out, on_progress=say)
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
            "work": f"{report.macs:,} multiply-accumulates" + (f" with all {report.tokens} tokens" if loaded else ""),
            "kernels": f"{len({kernel.kernel for kernel in report.kernels})}, called {_calls(report):,} times",
            "out": str(out),
        }
    )


def _calls(report: CompileReport) -> int:
    """Kernel calls of one inference with all tokens present."""
    return sum(kernel.calls for kernel in report.kernels)
