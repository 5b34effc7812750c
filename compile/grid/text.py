"""A detector's model.c: the encoder's executor, the pooling into the grid, the lines after it, and `sp_model`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spedge.model.boxes import levels_of
from spedge.model.parts import Detection

from ..plan.program import Program
from ..supported import supported
from ..text import c_text
from ..text import model as emit
from .lines import Line, Lines, place_name
from .nodes import Field, GridGraph
from .rooms import CELLS, GRID, HEAD, Layout

if TYPE_CHECKING:
    from spedge.model.bundle import Bundle


def detector_source(
    bundle: Bundle,
    program: Program,
    graph: GridGraph,
    layout: Layout,
    lines: Lines,
    functions: Sequence[Line],
    names: emit.Names,
    check: Sequence[str],
) -> str:
    """model.c. functions: of the graph's nodes, in their order. check: lines that see to it that constants are ours."""
    of = {key: place_name(key) if isinstance(key, str) else names.buffers[key] for key in layout.offsets}
    return "\n".join(
        [
            c_text.NOTICE + '#include "model.h"\n\n#include "model_internal.h"\n',
            "/* Where each value lies in the arena, in floats. */",
            c_text.places({of[key]: at for key, at in layout.offsets.items()}),
            emit.executor("encode_tokens", program, names, check),
            _CLEAR,
            *lines.text,
            _table(layout, functions),
            _steps(program, graph, layout, names),
            emit.labels_table(bundle.labels),
            c_text.outputs(bundle.outputs, [place_name(HEAD)]),
            _detection(bundle, [layout.rooms[old].name for old, _ in graph.state]),
            emit.model_struct(
                bundle,
                emit.input_offset(program, names),
                layout.arena_bytes,
                "fp32",
                names,
                (f".cells_offset = 4 * {place_name(CELLS)}", ".detection = &detection", ".reset = reset"),
            ),
        ]
    )


_CLEAR = """\
static void clear(float *out, int32_t count)
{
    for (int32_t i = 0; i < count; ++i) {
        out[i] = 0.0f;
    }
}
"""


def _table(layout: Layout, functions: Sequence[Line]) -> str:
    """Which function computes which line, in the order of the run."""
    kind = "uint8_t" if max(max(s.node, s.line) for s in layout.steps) < 256 else "uint16_t"
    table = "".join(
        f"    {' '.join(f'{{{s.node}, {s.line}}},' for s in layout.steps[at : at + 12])}\n"
        for at in range(0, len(layout.steps), 12)
    )
    return (
        "static void (*const line_functions[])(float *a, int32_t y) = {\n"
        + "".join(f"    {f.function},\n" for f in functions)
        + "};\n\n/* Number of a function and of the line that it computes. */\n"
        + f"static const {kind} line_steps[{len(layout.steps)}][2] = {{\n{table}}};\n"
    )


def _steps(program: Program, graph: GridGraph, layout: Layout, names: emit.Names) -> str:
    """encode and reset."""
    assert program.output.buffer is not None
    rows = f"a + {names.buffers[program.output.buffer]} + {program.output.offset}"
    grid, width = graph.grid, graph.grid.width

    def clear(field: Field) -> str:
        return f"    clear(a + {place_name(layout.rooms[field].name)}, {field.cells * field.width});"

    return f"""\
/* The largest of each feature among the rows of a cell, and 0. */
static void pool_rows(float *a, int32_t count)
{{
    const uint16_t *const cells = (const uint16_t *)(const void *)(a + {place_name(CELLS)});
    clear(a + {place_name(GRID)}, {grid.cells * width});
    for (int32_t i = 0; i < count; ++i) {{
        const float *const row = {rows} + i * {width};
        float *const cell = a + {place_name(GRID)} + cells[i] * {width};
        for (int32_t c = 0; c < {width}; ++c) {{
            cell[c] = row[c] > cell[c] ? row[c] : cell[c];
        }}
    }}
}}

static int encode(void *arena, uint32_t count)
{{
    const int code = encode_tokens(arena, count);
    if (code != SP_OK) {{
        return code;
    }}
    pool_rows((float *)arena, (int32_t)count);
    for (int32_t i = 0; i < {len(layout.steps)}; ++i) {{
        line_functions[line_steps[i][0]]((float *)arena, line_steps[i][1]);
    }}
    return SP_OK;
}}

static void reset(void *arena)
{{
    float *const a = (float *)arena;
{chr(10).join(clear(old) for old, _ in graph.state)}
}}
"""


def _detection(bundle: Bundle, state: Sequence[str]) -> str:
    """The table of the detector. state: names of the rooms of its two halves."""
    model, task = supported(bundle), bundle.task
    assert model.detector is not None and isinstance(task, Detection)
    rows, columns = model.detector.grid(bundle.sensor, model.input)
    levels = ", ".join(f"{{{stride}, {r}, {c}}}" for stride, r, c in levels_of(bundle))
    hidden, cell = (f"4 * {place_name(name)}" for name in state)
    return f"""\
static const sp_detection_t detection = {{
    .rows = {rows},
    .columns = {columns},
    .cell = {model.detector.cell},
    .step_us = {task.step_us}u,
    .levels = {{{levels}}},
    .rule = {{
        .score = {c_text.double(task.score)}f,
        .iou = {c_text.double(task.nms_iou)}f,
        .width = {bundle.sensor.width},
        .height = {bundle.sensor.height},
        .classes = {len(task.labels)},
    }},
    .hidden = {model.detector.hidden},
    .hidden_offset = {hidden},
    .cell_offset = {cell},
}};
"""
