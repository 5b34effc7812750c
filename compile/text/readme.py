"""README.md of a generated folder: what it is, how to build it and how to call it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..fixed.program import FixedProgram
from ..report import CompileReport
from ..supported import supported
from ..targets import Target

if TYPE_CHECKING:
    from spedge.model.bundle import Bundle


_ROWS_FILES = "| `rows/` | large products and attention, for each kind of vector instructions, and threads |\n"
_ROWS_USE = """
The best vector instructions of the machine are chosen when it runs. `sp_model.use(threads, vectors)` has the encoder
compute on so many threads, with the same results bit for bit; link with `-pthread`.
"""


def bundle_readme(bundle: Bundle, target: Target, report: CompileReport) -> str:
    """Of a bundle's model."""
    use = """\
const float *classify(uint32_t count) /* float [SP_MODEL_CLASSES] */
{
    float *rows = (float *)(arena + sp_model.input_offset); /* [SP_MODEL_TOKENS][SP_MODEL_HIDDEN] */
    /* write `count` embedded tokens to rows, then: */
    return sp_model.encode(arena, count) == SP_OK ? sp_model_output(arena, &sp_model.outputs[0]) : 0;
}
"""
    steps = (
        "\nThe model is stateful: `sp_model.reset(arena)` once, then `sp_model.step(arena, token)` for each "
        "embedded\ntoken, whose time counts from its window's first, and `sp_model.read(arena)` for the outputs. "
        "`spedge/model.h` says what happens past "
        f"{report.tokens} tokens.\n"
    )
    return _readme(
        bundle.name,
        f"the bundle {bundle.hash[:16]}",
        "the executor and `sp_model`: configuration of tokenizer and embedding, labels, hash",
        f"{report.macs} multiply-accumulates with\nall {report.tokens} tokens present; fewer tokens cost less.",
        use,
        target,
        report,
    ) + (steps if supported(bundle).causal else "")


def file_readme(path: Path, program: FixedProgram, target: Target, report: CompileReport) -> str:
    """Of the model of an ONNX file."""
    shape = ", ".join(map(str, program.input.shape))
    use = f"""\
const float *run(void) /* float [SP_MODEL_OUTPUT_FLOATS] */
{{
    float *in = (float *)(arena + sp_model.input_offset); /* [{shape}], row after row */
    /* write SP_MODEL_INPUT_FLOATS floats to in, then: */
    return sp_model.encode(arena, SP_MODEL_TOKENS) == SP_OK ? sp_model_output(arena, &sp_model.outputs[0]) : 0;
}}
"""
    return _readme(
        path.name,
        f"{path.name} ({report.bundle_hash[:16]})",
        "the calls in order, and `sp_model`",
        f"{report.macs} multiply-accumulates.\nThe model has a fixed shape and no tokenizer: `sp_model`'s "
        "configuration of tokenizer and embedding is zero.",
        use,
        target,
        report,
    )


def _readme(name: str, origin: str, model_c: str, work: str, use: str, target: Target, report: CompileReport) -> str:
    by_rows = any(file.startswith("rows/") for file in report.files)
    sources, row = (" rows/*.c", _ROWS_FILES) if by_rows else ("", "")
    return f"""# {name} for {target.name}

Written by `spedge compile` from {origin}: plain C99, no allocation, no libraries{" but POSIX threads" * by_rows}.

| file | what |
|---|---|
| `model.h` | sizes for static memory; includes `spedge/model.h`, which declares `sp_model` |
| `model.c` | {model_c} |
| `kernels.c` | the kernels that TVM generated |
| `weights.bin`, `weights.c` | constants, for flash: as data, and where each of them lies |
| `model_internal.h` | what these files know of each other |
{row}| `include/spedge/` | the headers that these files need |
| `example/main.c` | a program that runs the model once |
| `report.json` | sizes, multiply-accumulates, kernels, versions |

Arena: {report.arena_bytes} bytes. Constants: {report.flash_bytes} bytes. {work}

The folder needs nothing else. Build its C files with a compiler that knows GCC's extensions, for ELF; the
assembler takes `weights.bin` from where `-I` says:

    {target.compiler} -std=c99 {" ".join(target.flags)} -I. -Iinclude -c model.c kernels.c weights.c{sources}

Use:

```c
#include "model.h"

static unsigned char arena[SP_MODEL_ARENA_BYTES] __attribute__((aligned(16)));

{use}```
{_ROWS_USE * by_rows}"""
