"""Write a fixed-shape program as C: the same files and the same interface as a bundle's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from ..targets import Target
from ..text import c_text
from ..text.c_text import NOTICE, constant_symbol
from ..text.weights import weights
from .model import C_TYPES
from .program import FixedProgram, Step, Tensor, constants_used

# GCC contracts products and sums to fused ones only when told so, whatever -ffp-contract says for other files.
_TITLE = """\
/* The graph's kernels, written by TVM. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("fp-contract=fast")
#endif
"""


def sources(program: FixedProgram, model: Mapping[str, Any], target: Target) -> dict[str, str | bytes]:
    """The C files and their data by name. model: name, hash (hex), rows (tokens of a `length`, else 1)."""
    offsets, floats = program.plan()
    signatures = {step.kernel: _signature(step, program) for step in program.steps}
    constants = constants_used(program)
    data = weights(constants)
    return {
        "model.h": _header(program, model, 4 * floats),
        "model.c": _model(program, model, offsets, 4 * floats, data.check),
        "model_internal.h": c_text.internal_header(
            signatures.values(), [_declaration(n, a) for n, a in constants.items()]
        ),
        "kernels.c": _kernels(program, signatures, target),
        "weights.c": data.source,
        "weights.bin": data.blob,
    }


def _dtype(argument: Tensor | str, program: FixedProgram) -> str:
    return argument.dtype if isinstance(argument, Tensor) else str(program.constants[argument].dtype)


def _signature(step: Step, program: FixedProgram) -> str:
    types = [f"const {C_TYPES[_dtype(r, program)]} *restrict " for r in step.reads]
    types += [f"{C_TYPES[w.dtype]} *restrict " for w in step.writes]
    return f"void {step.kernel}({', '.join(f'{t}p{i}' for i, t in enumerate(types))})"


def _declaration(name: str, array: NDArray[Any]) -> str:
    return f"{C_TYPES[str(array.dtype)]} {constant_symbol(name)}[{max(1, array.size)}]"


def _kernels(program: FixedProgram, signatures: Mapping[str, str], target: Target) -> str:
    definitions = [_definition(signatures[name], body) for name, body in program.bodies.items()]
    title = _TITLE if not any(re.search(r"\bbool\b", d) for d in definitions) else f"{_TITLE}\n#include <stdbool.h>\n"
    return c_text.kernels_source(title, target.defines, ["spedge/kernel_math.h"], definitions)


def _definition(signature: str, body: str) -> str:
    """A function; parameters and sums that it never reads are said to be unused."""
    body = re.sub(r"\binff\b", c_text.INFINITY, body)  # as TVM writes it
    parameters = re.findall(r"p\d+(?=[,)])", signature)
    unused = "".join(f"  (void){p};\n" for p in parameters if not re.search(rf"\b{p}\b", body))

    def declare(match: re.Match[str]) -> str:
        uses = re.findall(rf"^(.*)\b{match[3]}\[", body.replace(match[0], ""), re.MULTILINE)
        return match[0] + ("" if any(before.strip() for before in uses) else f"\n{match[1]}(void){match[3]};")

    body = re.sub(r"^( *)(\w+) (\w+)\[\d+\];$", declare, body, flags=re.MULTILINE)
    return f"{signature} {{\n{unused}{body.removeprefix('{').lstrip()}"


def _header(program: FixedProgram, model: Mapping[str, Any], arena_bytes: int) -> str:
    size, shape = program.input.elements, " x ".join(map(str, program.input.shape))
    outputs = " x ".join(map(str, program.given.shape))
    return (
        f"{NOTICE}#ifndef SP_GENERATED_MODEL_H_INCLUDED\n#define SP_GENERATED_MODEL_H_INCLUDED\n\n"
        '#include "spedge/model.h"\n\n'
        f"#define SP_MODEL_ARENA_BYTES {arena_bytes}u /* 16-byte aligned */\n"
        f"#define SP_MODEL_TOKENS {model['rows']}u\n"
        f"#define SP_MODEL_INPUT_FLOATS {size}u /* {shape} */\n"
        f"#define SP_MODEL_OUTPUT_FLOATS {program.given.size}u /* {outputs} */\n\n"
        "#endif\n"
    )


def _model(
    program: FixedProgram,
    model: Mapping[str, Any],
    offsets: Mapping[Tensor, int],
    arena_bytes: int,
    check: Sequence[str],
) -> str:
    names = {t: f"AT_{t.name.upper()}" for t in program.tensors}
    return f"""{NOTICE}#include "model.h"

#include "model_internal.h"

/* Where each value lies in the arena, in floats. */
{c_text.places({names[t]: offsets[t] for t in program.tensors})}
{_encode(program, model, names, check)}
{c_text.outputs([program.given], [names[program.output]])}
const sp_model_t sp_model = {{
    .hash = {{{c_text.digest(bytes.fromhex(model["hash"]))}}},
    .name = {c_text.string(model["name"])},
    .tokens = {model["rows"]},
    .output_count = 1,
    .outputs = outputs,
    .arena_bytes = {arena_bytes}u,
    .input_offset = {names[program.input]} * 4,
    .encode = encode,
}};
"""


def _encode(program: FixedProgram, model: Mapping[str, Any], names: Mapping[Tensor, str], check: Sequence[str]) -> str:
    lines = [*check]
    if program.length is None:
        lines += ["    (void)count; /* the whole input is computed in every run */"]
    else:
        kind = C_TYPES[program.length.dtype]
        lines += [
            f"    if (count > {model['rows']}u) {{",
            "        return SP_ERR_CAPACITY;",
            "    }",
            f"    *({kind} *)(void *)(a + {names[program.length]}) = ({kind})count;",
        ]
    for step in program.steps:
        lines.append(f"    {step.kernel}({', '.join(_argument(x, names) for x in (*step.reads, *step.writes))});")
    if program.constant:
        lines += [
            f"    for (int32_t i = 0; i < {program.given.size}; ++i) {{",
            f"        ({_argument(program.output, names)})[i] = {constant_symbol(program.constant)}[i];",
            "    }",
        ]
    lines.append("    return SP_OK;")
    used = any("a + " in line for line in lines)
    first = "    float *const a = (float *)arena;" if used else "    (void)arena; /* the output is the input */"
    return "\n".join(["static int encode(void *arena, uint32_t count)", "{", first, *lines, "}", ""])


def _argument(argument: Tensor | str, names: Mapping[Tensor, str]) -> str:
    if isinstance(argument, str):
        return constant_symbol(argument)
    place = f"a + {names[argument]}"
    return place if argument.dtype == "float32" else f"({C_TYPES[argument.dtype]} *)(void *)({place})"
