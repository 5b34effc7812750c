"""The tiny bundle with outputs that no frame holds: a heat map of 256x256 and 17,500 boxes, beside the logits.

Every number of a heat map and of the boxes is a multiple of a logit, so that one of another result shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from spedge.base.outputs import Output
from spedge.model.bundle import FILES, Bundle, write_bundle
from spedge.model.parts import Transformer
from tests.tiny import CLASSES, HIDDEN, TOKENS, model_source

SHAPES: dict[str, tuple[int, ...]] = {"logits": (CLASSES,), "heat": (256, 256), "boxes": (17_500, 4)}
NAMES = tuple(SHAPES)
#: Of the logit of that number times this, in the heat map and in the boxes.
FACTORS: dict[str, tuple[int, NDArray[np.float32]]] = {
    name: (logit, (np.arange(np.prod(SHAPES[name])) % wrap + 1).astype(np.float32).reshape(SHAPES[name]))
    for name, logit, wrap in (("heat", 0, 1000), ("boxes", 1, 777))
}


def widened(tiny: Bundle, folder: Path, names: Sequence[str] = NAMES, causal: bool = False) -> Bundle:
    """A tiny bundle with these outputs, in this order."""
    model = tiny.model
    if causal:
        assert isinstance(model, Transformer)
        model = replace(model, attention="causal")
    outputs = tuple(Output(name, SHAPES[name]) for name in names)
    files = {name: tiny.file(name).read_bytes() for name in FILES}
    for name in ("encoder.onnx", "model.onnx"):
        files[name] = _with_more(onnx.load_from_string(files[name]))
    return write_bundle(folder, replace(tiny.plain(), outputs=outputs, model=model), files)


def _with_more(model: onnx.ModelProto) -> bytes:
    graph = model.graph
    for name, (logit, factors) in FACTORS.items():
        flat = f"{name}_factors"
        graph.initializer.append(numpy_helper.from_array(factors[None], flat))
        graph.initializer.append(numpy_helper.from_array(np.array(logit, np.int64), f"{name}_logit"))
        graph.node.append(helper.make_node("Gather", ["logits", f"{name}_logit"], [f"{name}_of"], axis=1))
        graph.node.append(helper.make_node("Mul", [f"{name}_of", flat], [name]))
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *factors.shape]))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def require_whole(outputs: Mapping[str, NDArray[np.float32]], names: Sequence[str] = NAMES) -> None:
    """Assert that these are the outputs, in that order, of one and the same result."""
    assert list(outputs) == list(names)
    for name, (logit, factors) in FACTORS.items():
        assert outputs[name].tolist() == (outputs["logits"][logit] * factors).tolist()


_MORE = """    for (uint32_t i = 0; i < %(heat)du; i++)
        ((float *)arena)[i] = logits[0] * (float)(i %% 1000u + 1u);
    for (uint32_t i = 0; i < %(boxes)du; i++)
        ((float *)arena)[%(heat)du + i] = logits[1] * (float)(i %% 777u + 1u);
    return SP_OK;
"""

_STATEFUL = """
enum { STATE = %(state)d };

static void reset(void *arena)
{
    memset((float *)arena + STATE, 0, %(hidden)d * sizeof(float) + sizeof(uint32_t));
}

static int step(void *arena, const float *token)
{
    float *sums = (float *)arena + STATE;
    uint32_t *count = (uint32_t *)arena + STATE + %(hidden)d;
    if (*count == %(tokens)du)
        reset(arena);
    for (int h = 0; h < %(hidden)d; h++)
        sums[h] += token[h];
    memset(arena, 0xff, STATE * sizeof(float)); /* where the outputs were */
    *count += 1;
    return SP_OK;
}

static int read_out(void *arena)
{
    const uint32_t count = ((uint32_t *)arena)[STATE + %(hidden)d];
    memset(arena, 0, %(hidden)d * %(tokens)d * sizeof(float));
    for (int h = 0; h < %(hidden)d; h++)
        ((float *)arena)[h] = ((float *)arena)[STATE + h] / (float)(count > 0 ? count : 1u);
    return encode(arena, 1);
}

static const uint32_t shape_logits[]"""


def wide_source(bundle: Bundle, wrong: str = "") -> str:
    """model.c of a widened bundle. wrong: the name of an output of which the last number is another one."""
    at = {"heat": 0, "boxes": 65_536, "logits": 65_536 + 70_000}
    sizes = {"heat": 65_536, "boxes": 70_000}
    state = at["logits"] + 4
    tables = "".join(
        f"static const uint32_t shape_{o.name}[] = {{{', '.join(map(str, o.shape))}}};\n" for o in bundle.outputs
    )
    entries = ", ".join(
        f'{{"{o.name}", shape_{o.name}, {len(o.shape)}, {o.size}, 4 * {at[o.name]}}}' for o in bundle.outputs
    )
    more = _MORE % sizes
    if wrong:
        last = at[wrong] + bundle.outputs[[o.name for o in bundle.outputs].index(wrong)].size - 1
        more = more.replace("    return SP_OK;", f"    ((float *)arena)[{last}] += 1000.0f;\n    return SP_OK;")
    stateful = getattr(bundle.model, "attention", "full") == "causal"
    edits = [
        (f"(float *)arena + {TOKENS * HIDDEN};", f"(float *)arena + {at['logits']};"),
        ("    return SP_OK;\n", more),
        (f'outputs[] = {{{{"logits", shape, 1, {CLASSES}, 4 * {TOKENS * HIDDEN}}}}};', f"outputs[] = {{{entries}}};"),
        (f".arena_bytes = {4 * (TOKENS * HIDDEN + 4)},", f".arena_bytes = {4 * (state + 16)},"),
        (".output_count = 1,", f".output_count = {len(bundle.outputs)},"),
        ('#include "spedge/model.h"\n', '#include "spedge/model.h"\n#include <string.h>\n'),
        (f"static const uint32_t shape[] = {{{CLASSES}}};\n", tables),
    ]
    if stateful:  # after the other edits: it has returns of its own
        values = {"state": state, "hidden": HIDDEN, "tokens": TOKENS}
        edits.append(("static const uint32_t shape_logits[]", _STATEFUL % values))
        edits.append(
            (".encode = encode,", ".encode = encode,\n    .reset = reset,\n    .step = step,\n    .read = read_out,")
        )
    text = model_source(bundle)
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text
