"""compile_bundle: the stages of a compilation in order."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spedge.base.errors import UsageError
from spedge.model.parts import Gnn, Pcn, Transformer

from .errors import CompileError, MissingCompilerError
from .precision import find_precision
from .report import CompileReport, KernelReport
from .supported import supported, transformer_on_tokens
from .targets import Target, find_target

if TYPE_CHECKING:
    from spedge.model.bundle import Bundle

    from .graph.nodes import Graph
    from .kernels.base import Kernel
    from .plan.program import Buffer, Program, Stored
    from .plan.stateful import StatefulProgram
    from .points.lowering import PointProgram
    from .text.model import Names
    from .text.weights import Weights

Progress = Callable[[str], None]


def compile_bundle(
    bundle: Bundle | str | os.PathLike[str],
    target: str,
    out: str | os.PathLike[str],
    on_progress: Progress | None = None,
    precision: str = "fp32",
) -> CompileReport:
    """Compile a bundle's encoder and configuration to C in the folder `out`.

    bundle: a Bundle or its path. target: a name in `TARGETS`. out is written beside its place and moved
    there when whole, so it is never half written; a folder that an earlier compilation wrote is replaced,
    any other that is not empty is refused. precision: one of `PRECISIONS`.
    The same bundle, target and versions give the same bytes.
    on_progress gets one short sentence per stage.

    Raises UsageError (unknown target, occupied folder), InputError (damaged bundle), CompileError (an
    encoder that cannot be compiled, naming the node) and MissingCompilerError (TVM is not installed).
    """
    from spedge.model.bundle import Bundle

    find_precision(precision)
    chosen = find_target(target, precision)
    folder = Path(out).resolve()
    check_free(folder)
    say = on_progress or (lambda _: None)
    say("loading TVM")
    require_tvm()
    loaded = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
    supported(loaded)
    result = generate(loaded, chosen, say, precision)
    say(f"writing {folder}")
    write_folder(folder, result.files)
    return result.report


@dataclass(frozen=True)
class Result:
    """A compilation that is not written yet: the files of the folder by name, and what they were made from."""

    files: dict[str, str | bytes]
    report: CompileReport
    graph: Graph | None  # None of a model on graphs
    program: Program | StatefulProgram | PointProgram


def generate(bundle: Bundle, target: Target, say: Progress, precision: str = "fp32", probes: bool = False) -> Result:
    """Everything but writing. probes: surround kernel calls by calls of sp_probe_begin and sp_probe_end."""
    from .calibration import embedded_samples
    from .graph.quantise import quantise
    from .graph.reference import to_onnx
    from .graph.rewrite import centre_rows, keep_columns, split_heads
    from .plan.stateful import StatefulProgram
    from .text import model as emit

    if supported(bundle).detector:
        return _generate_detector(bundle, target, say, precision, probes)
    if not isinstance(bundle.model, Transformer):
        return _generate_points(bundle, target, say, precision, probes)
    graph = import_encoder(bundle, say)
    _check_attention(bundle, graph)
    if target.panels and precision == "fp32":
        split_heads(graph, not target.integers)
        if not target.integers:  # which larger numbers would take bits from
            keep_columns(graph)
            if not graph.stateful:
                centre_rows(graph)
    if graph.stateful and probes:
        raise CompileError("there is no report by kernel of a causal encoder")
    files: dict[str, str | bytes] = {}
    if precision != "fp32":
        say("calibrating" if precision == "int8" else "rounding the weights")
        quantise(graph, precision, embedded_samples(bundle))
        files["reference.onnx"] = to_onnx(graph).SerializeToString()
    say("planning kernels and memory")
    program, offsets, arena_bytes = _plan(graph, target)
    names = emit.Names.of(program)
    prefix = {"prefix": graph.source.prefix} if graph.prefix else {}
    embedding, exponent = _embedding_in_integers(bundle) if target.integers else (_embedding(bundle), None)
    constants: dict[str, Stored] = {**prefix, **program.constants, **embedding}
    weights = emit.finite_weights(constants)
    say(f"generating C for {len(names.kernels)} kernels")
    if isinstance(program, StatefulProgram):
        model = emit.stateful_source(bundle, program, names, offsets, arena_bytes, precision, weights.check, exponent)
        sites = 0
    else:
        given = (arena_bytes, precision, weights.check, exponent, probes)
        model = emit.model_source(bundle, program, names, offsets, *given)
        sites = program.calls if probes else 0
    files |= _sources(bundle, target, names, constants, weights, arena_bytes, sites) | {"model.c": model}
    kernels = _kernels(program, names.kernels)
    report = _report(bundle, target, precision, kernels, constants, embedding, arena_bytes, sorted(files))
    return Result(_described(bundle, target, files, report), report, graph, program)


def _sources(
    bundle: Bundle,
    target: Target,
    names: Names,
    constants: dict[str, Stored],
    weights: Weights,
    arena_bytes: int,
    sites: int = 0,
) -> dict[str, str | bytes]:
    """The files of a folder but for model.c and what describes it."""
    from .text import model as emit
    from .text.package import example, headers, points_example, rows_sources

    used = [*emit.kernel_headers(names), "spedge/model.h"]
    if isinstance(bundle.model, Gnn | Pcn):
        examples = points_example(target, names.by_rows)
    else:
        kind = "detector" if supported(bundle).detector else "classifier"
        examples = {"example/main.c": example(target, kind, names.by_rows)}
    return {
        "model.h": emit.model_header(bundle, arena_bytes, sites, "embedding_integers" in constants),
        "model_internal.h": emit.internal_header(names, constants),
        "kernels.c": emit.kernels_source(names, target),
        "weights.c": weights.source,
        "weights.bin": weights.blob,
        **headers(used),
        **(rows_sources() if names.by_rows else {}),
        **examples,
    }


def _described(
    bundle: Bundle, target: Target, files: dict[str, str | bytes], report: CompileReport
) -> dict[str, str | bytes]:
    from .text.readme import bundle_readme

    return {**files, "report.json": report.to_json(), "README.md": bundle_readme(bundle, target, report)}


def _generate_detector(bundle: Bundle, target: Target, say: Progress, precision: str, probes: bool) -> Result:
    from .grid.detector import detector_program
    from .grid.text import detector_source
    from .text import model as emit

    if precision != "fp32":
        raise CompileError(f"a detector is compiled in fp32, not in {precision}")
    if probes:
        raise CompileError("there is no report by kernel of a detector")
    say("importing the detector")
    whole = detector_program(bundle, target)
    embedding = _embedding(bundle)
    constants: dict[str, Stored] = {**whole.constants, **embedding}
    weights = emit.finite_weights(constants)
    say(f"generating C for {len(whole.names.kernels)} kernels")
    model = detector_source(
        bundle, whole.program, whole.graph, whole.layout, whole.lines, whole.functions, whole.names, weights.check
    )
    kernels = _kernels(whole.program, whole.names.kernels)
    kernels += [KernelReport(line.kernel, line.computes, line.runs, line.macs) for line in whole.functions]
    arena_bytes = whole.layout.arena_bytes
    files = _sources(bundle, target, whole.names, constants, weights, arena_bytes) | {"model.c": model}
    report = _report(bundle, target, precision, kernels, constants, embedding, arena_bytes, sorted(files))
    return Result(_described(bundle, target, files, report), report, whole.encoder, whole.program)


def _generate_points(bundle: Bundle, target: Target, say: Progress, precision: str, probes: bool) -> Result:
    from .points.lift import lift
    from .points.lowering import lower
    from .points.report import kernel_reports
    from .points.text import model_source
    from .text import model as emit

    if precision != "fp32":
        raise CompileError(f"a {bundle.model.type} is compiled in fp32, not in {precision}")
    if probes:
        raise CompileError(f"there is no report by kernel of a {bundle.model.type}")
    say("importing the encoder")
    network = lift(bundle.file("encoder.onnx"), bundle)
    say("planning kernels and memory")
    program = lower(network, supported(bundle).window, target)
    offsets, floats = program.plan()
    names = emit.Names.of(program)
    embedding = _embedding(bundle)
    constants: dict[str, Stored] = {**program.constants, **embedding}
    weights = emit.finite_weights(constants)
    say(f"generating C for {len(names.kernels)} kernels")
    model = model_source(bundle, program, names, offsets, 4 * floats, weights.check)
    files = _sources(bundle, target, names, constants, weights, 4 * floats) | {"model.c": model}
    kernels = kernel_reports(program, names.kernels)
    report = _report(bundle, target, precision, kernels, constants, embedding, 4 * floats, sorted(files))
    return Result(_described(bundle, target, files, report), report, None, program)


def _plan(graph: Graph, target: Target) -> tuple[Program | StatefulProgram, dict[Buffer, int], int]:
    """The program, where its buffers lie in the arena (floats), and the arena's size (bytes)."""
    from .plan.arena import plan
    from .plan.lowering import lower
    from .plan.stateful import lower_stateful

    program: Program | StatefulProgram
    if graph.stateful:
        program = lower_stateful(graph, target)
        offsets, floats = program.plan()
    else:
        program = lower(graph, target)
        offsets, floats = plan(program)
    return program, offsets, 4 * floats


def _check_attention(bundle: Bundle, graph: Graph) -> None:
    causal = supported(bundle).causal
    if causal != graph.stateful:
        raise CompileError(
            f"the bundle says {'causal' if causal else 'full'!r} attention, but encoder.onnx "
            + ("is causal" if graph.stateful else "is not causal with a mean over the rows present")
        )


def import_encoder(bundle: Bundle, say: Progress) -> Graph:
    """The graph of a transformer's encoder.onnx, optimised. Raises CompileError for one that cannot be compiled."""
    from .graph.lift import lift
    from .graph.nodes import HeadLinear, Linear
    from .graph.onnx_model import load_model
    from .graph.rewrite import optimise
    from .graph.simplify import simplify

    say("importing the encoder")
    path = bundle.file("encoder.onnx")
    simplified = simplify(load_model(path))
    task, seen, _ = transformer_on_tokens(bundle)
    if (simplified.capacity, simplified.hidden) != (seen.window, seen.features):
        raise CompileError(
            f"{path} takes tokens [1, {simplified.capacity}, {simplified.hidden}], but the bundle says "
            f"{seen.window} tokens of {seen.features} features"
        )
    graph = lift(simplified)
    if graph.output.width != len(task.labels):
        raise CompileError(f"{path} gives {graph.output.width} logits for {len(task.labels)} labels")
    optimise(graph)
    for node in graph.nodes:
        if isinstance(node, Linear | HeadLinear) and not np.isfinite(node.weight).all():
            raise CompileError(f"the weights of {node.out.name} hold a value that is not a finite number")
    return graph


def _embedding(bundle: Bundle) -> dict[str, Stored]:
    """The token embedding for the device: one contiguous row of features per cell."""
    weight, bias = bundle.embedding_arrays()
    return {"embedding_weight": np.ascontiguousarray(weight.T), "embedding_bias": bias}


def _embedding_in_integers(bundle: Bundle) -> tuple[dict[str, Stored], int]:
    """The same for a target without an FPU, as the C library's integers.h has it, and the integers' exponent."""
    from .kernels.fixed import BITS, in_halves, power_of

    weight, bias = bundle.embedding_arrays()
    power = int(power_of(np.abs(weight).max()))
    return {"embedding_integers": in_halves(weight.T, power), "embedding_bias": bias}, power + BITS


def _kernels(program: Program | StatefulProgram, names: dict[Kernel, str]) -> list[KernelReport]:
    """Every kernel call, with how often it is made with all tokens present."""
    from .plan.program import HeadLoop
    from .plan.stateful import StatefulProgram, macs

    if isinstance(program, StatefulProgram):
        return [KernelReport(names[call.kernel], call.what, calls, total) for call, calls, total in macs(program)]
    rows = program.graph.rows
    blocks = -(-rows // program.rows)
    reports = []
    for item, in_blocks in program.items():
        repeats = (blocks if in_blocks else 1) * (item.heads if isinstance(item, HeadLoop) else 1)
        for call in item.calls if isinstance(item, HeadLoop) else (item,):
            reports.append(KernelReport(names[call.kernel], call.what, repeats, repeats * call.kernel.macs(rows)))
    return reports


def _report(
    bundle: Bundle,
    target: Target,
    precision: str,
    kernels: Sequence[KernelReport],
    constants: Mapping[str, Stored],
    embedding: Mapping[str, Stored],
    arena_bytes: int,
    files: list[str],
) -> CompileReport:
    total = sum(a.nbytes for a in constants.values())
    embedded = sum(a.nbytes for a in embedding.values())
    model = supported(bundle)
    return CompileReport(
        name=bundle.name,
        bundle_hash=bundle.hash,
        target=target.name,
        precision=precision,
        flags=target.flags,
        parameters=target.parameters,
        tokens=model.window,
        hidden=model.input.features,
        outputs={output.name: output.shape for output in bundle.outputs},
        macs=sum(k.macs for k in kernels),
        flash_bytes=total,
        encoder_weight_bytes=total - embedded,
        embedding_weight_bytes=embedded,
        arena_bytes=arena_bytes,
        kernels=tuple(kernels),
        versions={name: version(name) for name in ("spedge", "apache-tvm", "onnx")},
        files=(*files, "report.json", "README.md"),
    )


def require_tvm() -> None:
    """Raises MissingCompilerError when TVM or ONNX is not installed."""
    try:
        import onnx  # noqa: F401
        import tvm  # noqa: F401
    except ImportError as error:
        raise MissingCompilerError(
            f"compiling a bundle needs TVM and ONNX ({error}): pip install 'spedge[compile]'"
        ) from None


def check_free(folder: Path) -> None:
    """Raises UsageError for a folder that a compilation may not replace."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "report.json").is_file():
        raise UsageError(f"{folder} holds files that no compilation wrote: choose an empty or a new folder")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: choose a folder")


def write_folder(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write beside the place, then move; the old folder goes last."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        new = Path(scratch) / "new"
        new.mkdir()
        for name, text in files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(text, bytes):
                (new / name).write_bytes(text)
            else:
                (new / name).write_text(text)
        if folder.exists():
            folder.rename(Path(scratch) / "old")
        new.rename(folder)
        shutil.rmtree(Path(scratch) / "old", ignore_errors=True)
