"""compile_onnx: an ONNX file that is no bundle to C."""

from __future__ import annotations

import hashlib
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..driver import Progress, check_free, require_tvm, write_folder
from ..errors import CompileError
from ..graph.onnx_model import load_model
from ..report import CompileReport, KernelReport
from ..targets import find_target
from ..text.package import example, headers

MOST_TOKENS = 65_535  # what sp_model_t's field holds


def compile_onnx(
    path: str | os.PathLike[str],
    target: str,
    out: str | os.PathLike[str],
    on_progress: Progress | None = None,
) -> CompileReport:
    """Compile an ONNX model to C in the folder `out`, with the interface of a bundle's model.

    path: a model of the operators in `SUPPORTED` (an MLP, a small CNN, an encoder of another make) with one
    float32 input of a fixed shape, one float32 output, and perhaps an int32 input `length` [1]. An open batch size
    becomes 1. All elements are computed in every run: `encode`'s count is passed as `length` where there is one and
    means nothing where there is not. target, out, on_progress and errors are as for `compile_bundle`; an operator
    that is not supported is named with its node and what could stand in its place.
    """
    chosen = find_target(target)
    folder = Path(out).resolve()
    check_free(folder)
    say = on_progress or (lambda _: None)
    say("loading TVM")
    require_tvm()
    source = Path(path)
    model = load_model(source)
    from ..text.readme import file_readme
    from . import program as fixed
    from . import text as fixed_text
    from .prepare import prepare, read_input

    given = read_input(model)
    if given.counted and (len(given.shape) != 3 or given.shape[1] > MOST_TOKENS):
        raise CompileError(
            f"{source} has an input 'length', but its tokens have the shape {list(given.shape)}, not [1, T, hidden] "
            f"with T up to {MOST_TOKENS:,}"
        )
    say("importing and scheduling")
    program = fixed.build(prepare(model), chosen)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    say(f"generating C for {len(program.kernels)} kernels")
    rows = given.shape[1] if given.counted else 1
    files: dict[str, str | bytes] = {
        **headers(["spedge/kernel_math.h", "spedge/model.h"]),
        "example/main.c": example(chosen, "file"),
    }
    files |= fixed_text.sources(program, {"name": source.stem, "hash": digest, "rows": rows}, chosen)
    report = _report(program, source.stem, digest, rows, chosen, sorted(files))
    files["report.json"] = report.to_json()
    files["README.md"] = file_readme(source, program, chosen, report)
    say(f"writing {folder}")
    write_folder(folder, files)
    return report


def _report(program: Any, name: str, digest: str, rows: int, target: Any, files: list[str]) -> CompileReport:
    from .program import constants_used

    flash = sum(a.nbytes for a in constants_used(program).values())
    kernels = tuple(KernelReport(s.kernel, s.writes[0].name, 1, s.macs) for s in program.steps)
    return CompileReport(
        name=name,
        bundle_hash=digest,
        target=target.name,
        precision="fp32",
        flags=target.flags,
        parameters=target.parameters,
        tokens=rows,
        hidden=program.input.elements // rows,
        outputs={program.given.name: program.given.shape},
        macs=sum(k.macs for k in kernels),
        flash_bytes=flash,
        encoder_weight_bytes=flash,
        embedding_weight_bytes=0,
        arena_bytes=4 * program.plan()[1],
        kernels=kernels,
        versions={package: version(package) for package in ("spedge", "apache-tvm", "onnx")},
        files=(*files, "report.json", "README.md"),
    )
