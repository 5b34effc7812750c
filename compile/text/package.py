"""What makes a generated folder stand alone: the headers it includes, and a program that runs the model."""

from __future__ import annotations

import re
from collections.abc import Iterable

from spedge.base.paths import firmware_dir

from ..targets import Target

EXAMPLE = """\
/* Runs the model once on made-up input and prints what comes out: replace the input by @WHAT@.
 * @COMPILER@ -std=c99 @FLAGS@ -I. -Iinclude@LIBRARY@ example/main.c @SOURCES@ -lm -o example-model */
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
@BEFORE@    if (sp_model.encode(arena.bytes, count) != SP_OK) {
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
            work += _included(text)
    return found


def _included(text: str) -> list[str]:
    """The headers of ours that a file includes."""
    names = re.findall(r'^\s*#\s*include "([^"]+)"', text, re.MULTILINE)
    return [name if "/" in name else f"spedge/{name}" for name in names]


def rows_sources() -> dict[str, str]:
    """What computes kernel_rows.h: the folder rows/, and the headers that it includes."""
    sources = {f"rows/{path.name}": path.read_text() for path in sorted((firmware_dir() / "runtime/rows").glob("*.c"))}
    return {**sources, **headers({name for text in sources.values() for name in _included(text)})}


_CELLS = """\
    for (i = 0; i < count; ++i) {
        ((uint16_t *)(void *)(arena.bytes + sp_model.cells_offset))[i] =
            (uint16_t)(i % ((uint32_t)sp_model.detection->rows * sp_model.detection->columns));
    }
    sp_model.reset(arena.bytes);
"""


#: Of the library: what makes the graphs of a model on graphs, and what it includes.
_GRAPH_SOURCES = ("graph.c", "graph_plan.c", "graph_points.h")
_GRAPH_HEADERS = ("spedge/assert.h", "spedge/error.h", "spedge/graph.h")
_POINTS = """\
    double *const points = (double *)(void *)(arena.bytes + sp_model.graph->tables[0].points_offset);
    for (i = 0; i < count; ++i) { /* column, row and time, in units of the model's time scale */
        points[3 * i] = (double)(i % 5u);
        points[3 * i + 1] = (double)(i % 3u);
        points[3 * i + 2] = 0.25 * i;
    }
    if (sp_graph_build(sp_model.graph, arena.bytes, count) != SP_OK) {
        return 1;
    }
"""


def points_example(target: Target, by_rows: bool) -> dict[str, str]:
    """example/main.c of a model on graphs, and the library's sources that make them."""
    library = firmware_dir() / "lib" / "src"
    sources = {f"example/graph/{name}": (library / name).read_text() for name in _GRAPH_SOURCES}
    return {"example/main.c": example(target, "points", by_rows), **sources, **headers(_GRAPH_HEADERS)}


def example(target: Target, kind: str = "classifier", by_rows: bool = False) -> str:
    """example/main.c. kind: of a "classifier" by tokens, of one on "points", of a "detector", or of a "file" with a
    fixed shape. by_rows: the folder has `rows_sources`."""
    rows = " ".join(name for name in rows_sources() if name.endswith(".c")) + " -pthread" if by_rows else ""
    labels, tokens = kind in ("classifier", "points"), kind != "file"
    words = {
        "@COMPILER@": target.compiler,
        "@FLAGS@": " ".join(target.flags),
        "@LIBRARY@": " -Iexample/graph example/graph/*.c" if kind == "points" else "",
        "@SOURCES@": f"model.c kernels.c weights.c {rows}".strip(),
        "@WHAT@": "embedded tokens, float [count][SP_MODEL_HIDDEN]" if tokens else "your own",
        "@INPUTS@": "count * SP_MODEL_HIDDEN" if tokens else "SP_MODEL_INPUT_FLOATS",
        "@BEFORE@": {"detector": _CELLS, "points": _POINTS}.get(kind, ""),
        "@FORMAT@": "%s" if labels else "%lu",
        "@LABEL@": "sp_model_labels[i]" if labels else "(unsigned long)i",
    }
    text = EXAMPLE
    for word, value in words.items():
        text = text.replace(word, value)
    return text
