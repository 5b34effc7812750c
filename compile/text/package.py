"""What makes a generated folder stand alone: the headers it includes, and a program that runs the model."""

from __future__ import annotations

import re
from collections.abc import Iterable

from spedge.base.paths import firmware_dir

from ..targets import Target

EXAMPLE = """\
/* Runs the model once on made-up input and prints what comes out: replace the input by @WHAT@.
 * @COMPILER@ -std=c99 @FLAGS@ -I. -Iinclude example/main.c model.c kernels.c weights.c -lm -o example-model */
#include "model.h"

#include <stdio.h>

static union {
    float floats[SP_MODEL_ARENA_BYTES / sizeof(float)];
    unsigned char bytes[SP_MODEL_ARENA_BYTES];
} arena __attribute__((aligned(16)));

int main(void)
{
    const uint32_t count = SP_MODEL_TOKENS;
    float *const input = (float *)(arena.bytes + sp_model.input_offset);
    const float *output;
    uint32_t i;
    for (i = 0; i < @INPUTS@; ++i) {
        input[i] = (float)(i % 17u) / 8.0f - 1.0f;
    }
    if (sp_model.encode(arena.bytes, count) != SP_OK) {
        return 1;
    }
    output = sp_model_output(arena.bytes, &sp_model.outputs[0]);
    for (i = 0; i < SP_MODEL_OUTPUT_FLOATS; ++i) {
        printf("@FORMAT@ %.6f\\n", @LABEL@, (double)output[i]);
    }
    return 0;
}
"""


def headers(names: Iterable[str]) -> dict[str, str]:
    """The runtime's and the library's headers of these names ("spedge/model.h") and all that they include.

    By where they go in the folder: include/spedge/...
    """
    found: dict[str, str] = {}
    work = sorted(names)
    while work:
        name = work.pop()
        path = next(p for part in ("runtime", "lib") if (p := firmware_dir() / part / "include" / name).is_file())
        if f"include/{name}" not in found:
            text = path.read_text()
            found[f"include/{name}"] = text
            included = re.findall(r'^\s*#\s*include "([^"]+)"', text, re.MULTILINE)
            work += [other if "/" in other else f"spedge/{other}" for other in included]
    return found


def example(target: Target, labels: bool = True) -> str:
    """example/main.c; labels: of a model with tokens and labels, else of one with a fixed shape."""
    words = {
        "@COMPILER@": target.compiler,
        "@FLAGS@": " ".join(target.flags),
        "@WHAT@": "embedded tokens, float [count][SP_MODEL_HIDDEN]" if labels else "your own",
        "@INPUTS@": "count * SP_MODEL_HIDDEN" if labels else "SP_MODEL_INPUT_FLOATS",
        "@FORMAT@": "%s" if labels else "%lu",
        "@LABEL@": "sp_model_labels[i]" if labels else "(unsigned long)i",
    }
    text = EXAMPLE
    for word, value in words.items():
        text = text.replace(word, value)
    return text
