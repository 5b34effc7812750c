"""Write a program as C: model.h, model.c (configuration and executor), kernels.c, and its constants."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import CompileError
from ..kernels.base import KEY_TILE, Kernel, Parameter
from ..kernels.codegen import C_TYPES, generate, parameter_type, signature
from ..kernels.fixed import (
    FixedAttentionKernel,
    FixedKernel,
    FixedNormKernel,
    FixedQuantiseKernel,
    FixedSharedKernel,
)
from ..kernels.int8 import RowWeightLinearKernel
from ..kernels.int8_vector import Int8VectorLinearKernel, VectorQuantiseKernel
from ..kernels.lines import VectorSumsKernel
from ..kernels.panel import PanelKernel, PanelLinearKernel, RowLinearKernel
from ..kernels.rows import RowsAttentionKernel, RowsLinearKernel, RowsNormKernel
from ..kernels.vector import VectorLinearKernel, VectorMixKernel
from ..plan.program import Arg, Buffer, Call, HeadLoop, Item, Program, Stored
from ..plan.stateful import StatefulProgram
from ..points.kernels import GraphKernel
from ..supported import supported
from ..targets import Target
from . import c_text
from .c_text import NOTICE, constant_symbol
from .weights import Weights, weights

if TYPE_CHECKING:
    from spedge.model.bundle import Bundle

    from ..points.lowering import PointProgram

_ROWS = RowsAttentionKernel | RowsLinearKernel | RowsNormKernel
_FIXED = FixedAttentionKernel | FixedKernel | FixedNormKernel | FixedQuantiseKernel | FixedSharedKernel
_PANELS = PanelKernel | PanelLinearKernel | RowLinearKernel | RowWeightLinearKernel | Int8VectorLinearKernel
_VECTORS = VectorLinearKernel | VectorMixKernel | VectorSumsKernel


@dataclass(frozen=True)
class Names:
    """C names of kernels, buffers and constants."""

    kernels: dict[Kernel, str]
    buffers: dict[Buffer, str]

    @staticmethod
    def of(program: Program | StatefulProgram | PointProgram) -> Names:
        kernels: dict[Kernel, str] = {}
        for item, _ in program.items():
            for call in item.calls if isinstance(item, HeadLoop) else (item,):
                if call.kernel not in kernels:
                    name = f"sp_k_{call.kernel.title}"
                    clashes = sum(re.fullmatch(rf"{name}(_v\d+)?", n) is not None for n in kernels.values())
                    kernels[call.kernel] = f"{name}_v{clashes + 1}" if clashes else name
        return Names(kernels, {b: f"AT_{b.name.upper()}" for b in program.buffers})

    @property
    def by_rows(self) -> bool:
        """Whether kernels are computed by kernel_rows.h or kernel_vector.h, whose sources come along."""
        return any(isinstance(kernel, _ROWS | _VECTORS) for kernel in self.kernels)


def kernels_source(names: Names, target: Target) -> str:
    """kernels.c: the functions, as TVM wrote them."""
    bodies = generate([(name, kernel) for kernel, name in names.kernels.items()])
    title = "/* The encoder's kernels, written by TVM. */"
    return c_text.kernels_source(title, target.defines, kernel_headers(names), bodies.values())


def kernel_headers(names: Names) -> list[str]:
    """The runtime's headers that the kernels include."""
    integers = any(p.dtype == "int16" for kernel in names.kernels for p in kernel.parameters)
    vectors = any(isinstance(kernel, _VECTORS) for kernel in names.kernels)
    panels = any(isinstance(kernel, _PANELS) for kernel in names.kernels)
    blocks = any(isinstance(kernel, VectorQuantiseKernel) for kernel in names.kernels)
    graphs = any(isinstance(kernel, GraphKernel) for kernel in names.kernels)
    fixed = any(isinstance(kernel, _FIXED) for kernel in names.kernels)
    uses = (
        ("kernel_fixed", fixed),
        ("kernel_graph", graphs),
        ("kernel_int8", integers),
        ("kernel_int8_vector", blocks),
        ("kernel_panel", panels),
        ("kernel_rows", names.by_rows),
        ("kernel_vector", vectors),
    )
    extra = [name for name, used in uses if used]
    return [f"spedge/{name}.h" for name in ("kernel_math", *extra)]


def constant_type(array: Stored) -> str:
    """The C type of a constant's elements."""
    return C_TYPES[array.dtype.name]


def _declaration(name: str, array: Stored) -> str:
    return f"{constant_type(array)} {constant_symbol(name)}[{array.size}]"


def internal_header(names: Names, constants: dict[str, Stored]) -> str:
    """model_internal.h: what the generated files know of each other."""
    signatures = [signature(name, kernel) for kernel, name in names.kernels.items()]
    includes = ["spedge/kernel_rows.h"] if names.by_rows else []
    return c_text.internal_header(signatures, [_declaration(n, a) for n, a in constants.items()], includes)


def finite_weights(constants: dict[str, Stored]) -> Weights:
    """The constants as data. Raises CompileError for one that is not of finite numbers."""
    for name, array in constants.items():
        if not np.all(np.isfinite(array)):
            raise CompileError(f"the constant {name} holds a value that is not a finite number")
    return weights(constants)


_INTEGERS = "#ifndef SP_EMBED_INTEGERS\n#define SP_EMBED_INTEGERS 1 /* the weights of its embedding are */\n#endif\n\n"


def model_header(bundle: Bundle, arena_bytes: int, probes: int = 0, integers: bool = False) -> str:
    """model.h: sizes for static memory, and the model itself through the runtime's interface; probes: how many.
    integers: whether the embedding's weights are."""
    model = supported(bundle)
    return (
        f"{NOTICE}#ifndef SP_GENERATED_MODEL_H_INCLUDED\n#define SP_GENERATED_MODEL_H_INCLUDED\n\n"
        f"{_INTEGERS if integers else ''}"
        '#include "spedge/model.h"\n\n'
        f"#define SP_MODEL_ARENA_BYTES {arena_bytes}u /* 16-byte aligned */\n"
        f"#define SP_MODEL_TOKENS {model.window}u\n"
        f"#define SP_MODEL_HIDDEN {model.input.features}u\n"
        f"#define SP_MODEL_CLASSES {len(model.labels)}u\n"
        f"#define SP_MODEL_OUTPUT_FLOATS {sum(o.size for o in bundle.outputs)}u /* of all outputs */\n\n"
        "/* Names of the classes. */\n"
        f"extern const char *const sp_model_labels[SP_MODEL_CLASSES];\n{_probe_declarations(probes)}\n"
        "#endif\n"
    )


def _probe_declarations(probes: int) -> str:
    if not probes:
        return ""
    return (
        f"#define SP_MODEL_PROBES {probes}\n\n"
        "/* Around kernel call number `site` of the executor; out is what it has written. */\n"
        "void sp_probe_begin(int32_t site);\n"
        "void sp_probe_end(int32_t site, int32_t block, int32_t head, const void *out);\n"
    )


def model_source(
    bundle: Bundle,
    program: Program,
    names: Names,
    offsets: dict[Buffer, int],
    arena_bytes: int,
    precision: str,
    check: Sequence[str],
    exponent: int | None = None,
    probes: bool = False,
) -> str:
    """model.c: the executor and `sp_model`.

    check: lines that see to it that the constants are ours. exponent: of an embedding in integers; None: it is floats.
    probes: with calls of sp_probe_begin and sp_probe_end.
    """
    return "\n".join(
        [
            NOTICE + '#include "model.h"\n\n#include "model_internal.h"\n',
            "/* Where each value lies in the arena, in floats. */",
            c_text.places({names.buffers[b]: offsets[b] for b in program.buffers}),
            executor("encode", program, names, check, itertools.count() if probes else None),
            labels_table(bundle.labels),
            c_text.outputs(bundle.outputs, [output_place(program.output, names)]),
            model_struct(bundle, input_offset(program, names), arena_bytes, precision, names, exponent=exponent),
        ]
    )


def input_offset(program: Program, names: Names) -> str:
    """Where the caller writes the tokens' rows: behind the constant ones; in floats."""
    return f"{names.buffers[program.source]} + {program.graph.prefix * program.graph.source.out.width}"


def executor(
    title: str, program: Program, names: Names, check: Sequence[str], sites: Iterator[int] | None = None
) -> str:
    """The function that runs the encoder: int title(void *arena, uint32_t count)."""
    rows, source = program.rows, names.buffers[program.source]
    prefix, hidden = program.graph.prefix, program.graph.source.out.width
    lines = [
        "/* rows: the constant rows in front and the tokens present; keys the same, in tiles for attention. */",
        f"static int {title}(void *arena, uint32_t count)",
        "{",
        "    float *const a = (float *)arena;",
        f"    const int32_t keys = (int32_t)count + {prefix};",
        f"    const int32_t tiles = (keys + {KEY_TILE - 1}) / {KEY_TILE};",
        *([] if program.whole else [f"    const int32_t blocks = (keys + {rows - 1}) / {rows};"]),
        *(["    int32_t i;"] if prefix or not program.whole else []),
        f"    if (count > {program.graph.capacity}u) {{",
        "        return SP_ERR_CAPACITY;",
        "    }",
        *check,
    ]
    if prefix:
        lines += [
            f"    for (i = 0; i < {prefix * hidden}; ++i) {{",
            f"        a[{source} + i] = {constant_symbol('prefix')}[i];",
            "    }",
        ]
    if not program.whole:
        lines += [
            "    /* The last block may be part empty: its spare rows are computed, but nobody reads them. */",
            f"    for (i = keys * {hidden}; i < blocks * {rows * hidden}; ++i) {{",
            f"        a[{source} + i] = 0.0f;",
            "    }",
        ]
    at = len(lines)
    for phase in program.phases:
        lines.append(f"    /* {phase.label} */")
        if program.whole:
            lines += item_lines(phase.blocks, names, "    ", sites, "0")
        elif phase.blocks:
            inside = item_lines(phase.blocks, names, "        ", sites, "block")
            lines.append("    for (int32_t block = 0; block < blocks; ++block) {")
            if any(line.endswith(", left);") for line in inside):
                lines.append(f"        const int32_t left = keys - block * {rows};")
            lines += inside
            lines.append("    }")
        lines += item_lines(phase.once, names, "    ", sites, "0")
    if not any("tiles" in line for line in lines[at:]):
        lines.append("    (void)tiles;")
    lines += ["    return SP_OK;", "}", ""]
    return "\n".join(lines)


def output_place(output: Arg, names: Names) -> str:
    """Where an output lies in the arena, in floats."""
    assert output.buffer is not None
    return f"{names.buffers[output.buffer]} + {output.offset}"


_STATEFUL = (".reset = reset", ".step = step", ".read = read_out")


def stateful_source(
    bundle: Bundle,
    program: StatefulProgram,
    names: Names,
    offsets: dict[Buffer, int],
    arena_bytes: int,
    precision: str,
    check: Sequence[str],
    exponent: int | None = None,
) -> str:
    """model.c of a stateful model: reset, step, read, encode and `sp_model`."""
    model = model_struct(bundle, names.buffers[program.input], arena_bytes, precision, names, _STATEFUL, exponent)
    places = {names.buffers[b]: offsets[b] for b in program.buffers} | {"AT_COUNT": arena_bytes // 4 - 1}
    return "\n".join(
        [
            NOTICE + '#include "model.h"\n\n#include "model_internal.h"\n',
            "/* Where each value lies in the arena, in floats; the count of the window's tokens is the last word. */",
            c_text.places(places),
            _steps(program, names, check),
            labels_table(bundle.labels),
            c_text.outputs(bundle.outputs, [output_place(program.output, names)]),
            model,
        ]
    )


def _steps(program: StatefulProgram, names: Names, check: Sequence[str]) -> str:
    graph, at = program.graph, names.buffers
    hidden, width = graph.source.out.width, program.total.row
    token = "\n".join(item_lines(program.token, names, "    ", None, "block"))
    head = "\n".join(item_lines(program.head, names, "    ", None, "0"))
    checked = "".join(f"{line}\n" for line in check)
    unused = "" if "tiles" in token else "    (void)tiles;\n"
    return f"""static void reset(void *arena)
{{
    *((uint32_t *)arena + AT_COUNT) = 0;
}}

/* block: the token's place in the window; keys: the tokens it attends to, in tiles. */
static void take(float *a, int32_t block, const float *row)
{{
    const int32_t keys = block + 1;
    const int32_t tiles = (keys + {KEY_TILE - 1}) / {KEY_TILE};
{unused}    for (int32_t i = 0; i < {hidden}; ++i) {{
        a[{at[program.source]} + i] = row[i];
    }}
    if (block == 0) {{
        for (int32_t i = 0; i < {width}; ++i) {{
            a[{at[program.total]} + i] = 0.0f;
        }}
    }}
{token}
}}

static int read_out(void *arena)
{{
    float *const a = (float *)arena;
    const uint32_t count = *((const uint32_t *)arena + AT_COUNT);
    const float share = count == 0 ? 0.0f : 1.0f / (float)count;
    for (int32_t i = 0; i < {width}; ++i) {{
        a[{at[program.mean]} + i] = count == 0 ? 0.0f : a[{at[program.total]} + i] * share;
    }}
{head}
    return SP_OK;
}}

static int step(void *arena, const float *token)
{{
    uint32_t *const count = (uint32_t *)arena + AT_COUNT;
{checked}    *count = *count < {graph.capacity}u ? *count : 0; /* a full window: the next one begins */
    take((float *)arena, (int32_t)*count, token);
    *count += 1;
    return SP_OK;
}}

static int encode(void *arena, uint32_t count)
{{
    const float *const rows = (const float *)arena + {at[program.input]};
    if (count > {graph.capacity}u) {{
        return SP_ERR_CAPACITY;
    }}
{checked}    reset(arena);
    for (uint32_t i = 0; i < count; ++i) {{
        step(arena, rows + i * {hidden}u); /* overwrites row i at the earliest after it has been copied */
    }}
    return read_out(arena);
}}
"""


def item_lines(items: Iterable[Item], names: Names, indent: str, sites: Iterator[int] | None, block: str) -> list[str]:
    """The calls of items. sites: numbers for probes around them; block: the number of the block at hand, in C."""
    lines: list[str] = []
    for item in items:
        if isinstance(item, HeadLoop):
            lines.append(f"{indent}for (int32_t head = 0; head < {item.heads}; ++head) {{")
            lines += [line for c in item.calls for line in _probed(c, names, indent + "    ", sites, block, "head")]
            lines.append(f"{indent}}}")
        else:
            lines += _probed(item, names, indent, sites, block, "0")
    return lines


def _probed(call: Call, names: Names, indent: str, sites: Iterator[int] | None, block: str, head: str) -> list[str]:
    text = _call(call, names, indent)
    if sites is None:
        return [text]
    site = next(sites)
    written = [a for a, p in zip(call.args, call.kernel.parameters, strict=True) if p.kind in ("out", "both")]
    end = f"{indent}sp_probe_end({site}, {block}, {head}, {_arg(written[-1], names)});"
    return [f"{indent}sp_probe_begin({site});", text, end]


def _call(call: Call, names: Names, indent: str) -> str:
    args = [
        a.symbol if p.kind == "int" else _typed(_arg(a, names), a, p)
        for a, p in zip(call.args, call.kernel.parameters, strict=True)
    ]
    return f"{indent}{names.kernels[call.kernel]}({', '.join(args)});"


def _typed(text: str, arg: Arg, parameter: Parameter) -> str:
    """The arena is floats; a part of it that holds integers is cast."""
    if arg.buffer is None or parameter.dtype == "float32":
        return text
    return f"({parameter_type(parameter)})({text})"


def _arg(arg: Arg, names: Names) -> str:
    base = constant_symbol(arg.symbol) if arg.buffer is None else f"a + {names.buffers[arg.buffer]}"
    if arg.offset:
        base += f" + {arg.offset}"
    if arg.per_block:
        base += f" + block * {arg.per_block}"
    if arg.per_head:
        base += f" + head * {arg.per_head}"
    if arg.per_centre:
        base += f" + centre * {arg.per_centre}"
    return base


def labels_table(labels: Iterable[str]) -> str:
    """`sp_model_labels`."""
    texts = "".join(f"    {c_text.string(label)},\n" for label in labels)
    return f"const char *const sp_model_labels[SP_MODEL_CLASSES] = {{\n{texts}}};\n"


def model_struct(
    bundle: Bundle,
    source: str,
    arena_bytes: int,
    precision: str,
    names: Names,
    more: Sequence[str] = (),
    exponent: int | None = None,
) -> str:
    """`sp_model`. source: where the caller writes the tokens' rows, in floats. more: initialisers of other fields.
    exponent: of an embedding in integers; None: it is floats."""
    model = supported(bundle)
    use = (".use = sp_k_rows_use",) if names.by_rows else ()
    others = "".join(f"    {line},\n" for line in (*more, *use))
    t, e = model.input.tokenizer, model.input.embedding
    weight = f".weight = {constant_symbol('embedding_weight')},"
    if exponent is not None:
        weight = f".integers = {constant_symbol('embedding_integers')},\n        .exponent = {exponent},"
    return f"""const sp_model_t sp_model = {{
    .hash = {{{c_text.digest(bundle.hash_bytes)}}},
    .name = {c_text.string(bundle.model_name(precision))},
    .tokenizer = {{
        .width = {t.width},
        .height = {t.height},
        .patch_size = {t.patch_size},
        .threshold = {c_text.double(t.threshold)},
        .absolute_refractory_us = {t.absolute_refractory_us}u,
        .relative_refractory_us = {t.relative_refractory_us}u,
        .relative_scale = {c_text.double(t.relative_scale)},
        .decay_per_us = {c_text.double(t.decay_per_us)},
    }},
    .embed = {{
        .patch_size = {t.patch_size},
        .hidden = {e.hidden},
        .buckets = {e.buckets},
        .time_scale_us = {c_text.double(e.time_scale_us)}f,
        {weight}
        .bias = {constant_symbol("embedding_bias")},
    }},
    .tokens = {model.window},
    .task = SP_TASK_{model.task.upper()},
    .output_count = {len(bundle.outputs)},
    .outputs = outputs,
    .arena_bytes = {arena_bytes}u,
    .input_offset = 4 * ({source}),
    .encode = encode,
{others}}};
"""
