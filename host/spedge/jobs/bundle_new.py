"""A bundle around an ONNX encoder that was made elsewhere: its description, both graphs, samples; verified."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import CheckFailed, InputError, UsageError
from spedge.events.arrays import EVENT_DTYPE
from spedge.jobs.check_host import check_host
from spedge.jobs.play import load_events
from spedge.model.bundle import Bundle, npz_bytes, token_table, write_bundle
from spedge.model.parts import Embedding, Sensor, TokenInput, Transformer
from spedge.model.reference import Reference
from spedge.model.spec import ModelSpec, describe
from spedge.recordings import PLAIN, Reading
from spedge.tokens.settings import TokenizerSettings

if TYPE_CHECKING:
    import onnx

PRESET = "onnx"  #: what such bundles say that they were made by
_SAMPLES = 3  # made up where no recordings are given
_TOLERANCE = 1e-4
_FIELDS = {"name", "sensor", "labels", "tokenizer", "embedding", "attention"}


@dataclass(frozen=True)
class Made:
    """A bundle that was made and verified. samples: that it keeps. difference: the largest of a logit between both of
    its graphs."""

    bundle: Bundle
    samples: int
    difference: float


def new_bundle(
    encoder: Path,
    settings: Path,
    embedding: Path,
    out: Path,
    recordings: Sequence[Path] = (),
    reading: Reading = PLAIN,
) -> Made:
    """Write the bundle `out` of an encoder in ONNX: `tokens` float32 [1, T, hidden], `length` int32 [1] to `logits`.

    settings: a JSON object, as docs/bundle.md says: sensor, labels, tokenizer, embedding. embedding: an .npz of float32
    `weight` [hidden, cells] and `bias` [hidden]. recordings: of the samples that it keeps; without any, events are made
    up. Nothing is left in `out` unless the bundle loads, no row behind `length` matters, and both graphs agree.
    Raises InputError for files that cannot be, UsageError for a folder that holds something else, CheckFailed where the
    verification fails, naming what.
    """
    if out.exists() and not (out / "bundle.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} holds files that are no bundle: choose an empty or a new folder")
    model = _load(encoder)
    spec = _spec(encoder, model, _settings(settings))
    weight, bias = _embedding(embedding, spec.token_input)
    files = {
        "encoder.onnx": model.SerializeToString(),
        "model.onnx": with_embedding(model, spec.token_input, weight, bias).SerializeToString(),
        "embedding.npz": npz_bytes({"weight": weight, "bias": bias}),
        "vectors.npz": npz_bytes({}),
    }
    with tempfile.TemporaryDirectory(prefix="spedge-bundle-") as scratch:
        bare = write_bundle(Path(scratch) / "bare", spec, files)
        reference = Reference(bare)
        _require_mask(reference, encoder)
        events = [load_events(path, bare, reading) for path in recordings] or list(_made_up(spec))
        files["vectors.npz"] = npz_bytes(_vectors(reference, events))
        whole = write_bundle(Path(scratch) / "whole", spec, files)
        report = check_host(whole)
        wrong = next((one.problem for one in report.samples if one.problem), None)
        if wrong:
            raise CheckFailed(f"{encoder}: {wrong}")
        out.mkdir(parents=True, exist_ok=True)
        for path in whole.path.iterdir():
            shutil.copy2(path, out)
    return Made(Bundle.load(out), len(events), max(one.logits_diff for one in report.samples))


# ---------------------------------------------------------------- what is given


def _load(path: Path) -> onnx.ModelProto:
    try:
        import onnx
    except ImportError:
        raise UsageError("making a bundle of an ONNX file needs onnx: pip install 'spedge[compile]'") from None
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except Exception as error:  # onnx raises many kinds
        text = str(error).strip().splitlines()
        raise InputError(f"{path} is not a valid ONNX model ({text[0] if text else type(error).__name__})") from None
    return model


def _settings(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error})") from None
    if not isinstance(document, dict) or set(document) - _FIELDS or not {"sensor", "labels"} <= set(document):
        raise InputError(
            f"{path} is no object of sensor, labels, and perhaps {', '.join(sorted(_FIELDS - {'labels', 'sensor'}))}"
        )
    return document


def _spec(path: Path, model: onnx.ModelProto, settings: Mapping[str, Any]) -> ModelSpec:
    """The description, which fits the graph. Raises InputError."""
    import onnx

    initial = {i.name for i in model.graph.initializer}
    inputs = {i.name: i.type.tensor_type for i in model.graph.input if i.name not in initial}
    shape = [d.dim_value for d in inputs["tokens"].shape.dim] if "tokens" in inputs else []
    kinds = {name: given.elem_type for name, given in inputs.items()}
    wanted = {"tokens": onnx.TensorProto.FLOAT, "length": onnx.TensorProto.INT32}
    if kinds != wanted or len(shape) != 3 or shape[0] != 1 or min(shape) < 1:
        raise InputError(
            f"{path} takes {', '.join(inputs) or 'nothing'}: an encoder takes tokens, float32 of a fixed shape "
            "[1, T, hidden], and length, int32 [1], and nothing else"
        )
    if [o.name for o in model.graph.output] != ["logits"]:
        raise InputError(f"{path} gives {', '.join(o.name for o in model.graph.output)}: an encoder gives logits alone")
    _, window, hidden = shape
    layers = sum(node.op_type in ("Softmax", "Attention") for node in model.graph.node)
    try:
        spec = describe(
            settings.get("name", path.stem),
            PRESET,
            Sensor(**settings["sensor"]),
            tuple(settings["labels"]),
            TokenInput(
                TokenizerSettings.of(**settings["sensor"], **settings.get("tokenizer", {})),
                Embedding(**{"hidden": hidden, **settings.get("embedding", {})}),
                window=window,
            ),
            Transformer(hidden, hidden, 1, max(layers, 1), settings.get("attention", "full")),
        )
    except (TypeError, ValueError, UsageError) as error:
        raise InputError(f"the settings cannot be those of a model: {error}") from None
    dims = [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim]
    if dims != [1, len(settings["labels"])]:
        raise InputError(f"{path} gives logits {dims} for {len(settings['labels'])} labels")
    return spec


def _embedding(path: Path, seen: TokenInput) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            weight, bias = (np.asarray(archive[name]) for name in ("weight", "bias"))
    except Exception as error:  # numpy raises zipfile, zlib, OS, key and value errors for a bad archive
        raise InputError(f"{path} cannot be read as an .npz of weight and bias ({error})") from None
    wanted = (seen.features, seen.cells)
    if weight.shape != wanted or bias.shape != wanted[:1] or {weight.dtype, bias.dtype} != {np.dtype(np.float32)}:
        raise InputError(
            f"{path}: weight is {weight.dtype} {list(weight.shape)} and bias {bias.dtype} {list(bias.shape)}; "
            f"with these settings they are float32 {list(wanted)} and {list(wanted[:1])}"
        )
    return weight, bias


# ---------------------------------------------------------------- the graph with the embedding


def with_embedding(
    encoder: onnx.ModelProto, seen: TokenInput, weight: NDArray[np.float32], bias: NDArray[np.float32]
) -> onnx.ModelProto:
    """The encoder behind its embedding: `volumes`, `positions` and `length` to `logits`, as docs/bundle.md has them."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rows, hidden, patch = seen.window or 0, seen.features, seen.tokenizer.patch_size
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def constant(array: NDArray[Any]) -> str:
        constants.append(numpy_helper.from_array(array, f"embedding_constant_{len(constants)}"))
        return constants[-1].name

    def node(op: str, *inputs: str, **attributes: Any) -> str:
        name = f"embedding_{len(nodes)}"
        nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    counts = node(
        "Add",
        node("Reshape", "volumes", constant(np.array([1, rows, seen.cells], np.int64))),
        constant(np.ones(1, np.float32)),
    )
    events = node("Add", node("MatMul", node("Log", counts), constant(np.ascontiguousarray(weight.T))), constant(bias))
    parts = []
    for axis, size in enumerate((hidden // 3, hidden // 3, hidden // 3 + hidden % 3)):
        steps = 10_000.0 ** (2 * np.arange((size + 1) // 2) / size)
        place = node("Gather", "positions", constant(np.array([axis], np.int64)), axis=2)
        angles = node("Div", place, constant(steps[None, None]))
        parts += [
            node("Sin", angles),
            node("Slice", node("Cos", angles), *(constant(np.array([v], np.int64)) for v in (0, size // 2, 2))),
        ]
    position = node("Cast", node("Concat", *parts, axis=2), to=TensorProto.FLOAT)
    nodes.append(helper.make_node("Add", [events, position], ["tokens"], name="embedding_tokens"))
    whole = onnx.ModelProto()
    whole.CopyFrom(encoder)
    kept = [i for i in whole.graph.input if i.name != "tokens"]
    del whole.graph.input[:]
    whole.graph.input.extend(
        [
            helper.make_tensor_value_info(
                "volumes", TensorProto.FLOAT, [1, rows, 2, seen.embedding.buckets, patch, patch]
            ),
            helper.make_tensor_value_info("positions", TensorProto.DOUBLE, [1, rows, 3]),
            *kept,
        ]
    )
    inner = list(whole.graph.node)
    del whole.graph.node[:]
    whole.graph.node.extend([*nodes, *inner])
    whole.graph.initializer.extend(constants)
    onnx.checker.check_model(whole)
    return whole


# ---------------------------------------------------------------- verified


def _require_mask(reference: Reference, path: Path) -> None:
    """Rows behind `length` change nothing, at any length."""
    rng = np.random.default_rng(7)
    rows = reference.bundle.tokens
    given = rng.normal(0, 1, (rows, reference.bundle.token_input.features)).astype(np.float32)
    for count in sorted({0, 1, rows // 2, rows}):
        both = []
        for behind in (0.0, 1.0):
            filled = np.where(np.arange(rows)[:, None] < count, given, behind * given[::-1])[None]
            both.append(reference.run({"tokens": filled.astype(np.float32), "length": np.array([count], np.int32)}))
        for name, first in both[0].items():
            difference = float(np.abs(first - both[1][name]).max(initial=0))
            if not difference <= _TOLERANCE:
                raise CheckFailed(
                    f"{path}: with length {count} the rows behind it change {name} by {difference:.1e}: only the first "
                    "`length` rows are tokens, mask the others"
                )


def _made_up(spec: ModelSpec) -> list[NDArray[np.void]]:
    """Events for more tokens than the window has, for fewer, and for none."""
    rng = np.random.default_rng(11)
    tokenizer = spec.token_input.tokenizer
    one = int(tokenizer.threshold) + 1
    most = min(one * (spec.window or 1) * 2, 2_000_000)
    found = []
    for count in (most, most // 5, one // 2)[:_SAMPLES]:
        events = np.zeros(count, EVENT_DTYPE)
        events["t"] = np.sort(rng.integers(0, 1_000_000, count))
        events["x"] = rng.integers(0, tokenizer.width, count) // 4  # in a corner, where patches fill
        events["y"] = rng.integers(0, tokenizer.height, count) // 4
        events["p"] = rng.integers(0, 2, count)
        found.append(events)
    return found


def _vectors(reference: Reference, samples: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """As vectors.npz names them; the logits are those of the encoder."""
    arrays: dict[str, NDArray[Any]] = {}
    for i, events in enumerate(samples):
        tokens, _ = reference.tokenize(events)
        arrays |= {
            f"events_{i}": events,
            f"tokens_{i}": token_table(tokens),
            f"embedded_{i}": reference.encoder_input(tokens),
        }
        arrays |= {f"{name}_{i}": values for name, values in reference.encoded(tokens).items()}
    return arrays
