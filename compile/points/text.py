"""Write a program on points as C: model.c."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spedge.tokens.graph import RULES

from ..plan.program import Buffer
from ..text import c_text
from ..text import model as emit
from ..text.c_text import NOTICE
from .lowering import Loop, PointProgram, Table

if TYPE_CHECKING:
    from spedge.model.bundle import Bundle


def model_source(
    bundle: Bundle,
    program: PointProgram,
    names: emit.Names,
    offsets: dict[Buffer, int],
    arena_bytes: int,
    check: Sequence[str],
) -> str:
    """model.c: the executor, the graphs' plan and `sp_model`. check: lines that see to it that constants are ours."""
    source = names.buffers[program.source]
    return "\n".join(
        [
            NOTICE + '#include "model.h"\n\n#include "model_internal.h"\n',
            "/* Where each value lies in the arena, in floats. */",
            c_text.places({names.buffers[b]: offsets[b] for b in program.buffers}),
            _executor(program, names, check),
            emit.labels_table(bundle.labels),
            _plan(program, names),
            c_text.outputs(bundle.outputs, [emit.output_place(program.output, names)]),
            emit.model_struct(bundle, source, arena_bytes, "fp32", names, [".graph = &graph"]),
        ]
    )


def _executor(program: PointProgram, names: emit.Names, check: Sequence[str]) -> str:
    words = names.buffers[program.words]
    rooms = " || ".join(f"left[{i}] > {table.room.targets}" for i, table in enumerate(program.tables))
    lines = [
        "/* points: how many there are; left: how many each table has left of them; sp_graph_build has made both. */",
        "static int encode(void *arena, uint32_t count)",
        "{",
        "    float *const a = (float *)arena;",
        f"    const int32_t *const left = (const int32_t *)(const void *)(a + {words});",
        f"    if (count > {program.capacity}u || {rooms}) {{",
        "        return SP_ERR_CAPACITY;",
        "    }",
        *check,
    ]
    if any(loop.rows == "points" for loop in program.loops):
        lines.append("    const int32_t points = (int32_t)count;")
    for loop in program.loops:
        lines += [f"    /* {loop.label} */", *_loop(loop, program, names)]
    lines += ["    return SP_OK;", "}", ""]
    return "\n".join(lines)


def _loop(loop: Loop, program: PointProgram, names: emit.Names) -> list[str]:
    if not loop.rows:
        return emit.item_lines(loop.items, names, "    ", None, "0")
    if not loop.centres:
        return _blocks(loop, program, names, "    ")
    edges = f"{names.buffers[program.words]} + {loop.edges_at}"
    return [
        "    {",
        f"        const int32_t *const edges = (const int32_t *)(const void *)(a + {edges});",
        f"        for (int32_t centre = 0; centre < {loop.centres}; ++centre) {{",
        *emit.item_lines(loop.first, names, "            ", None, "0"),
        *_blocks(loop, program, names, "            "),
        "        }",
        "    }",
    ]


def _blocks(loop: Loop, program: PointProgram, names: emit.Names, indent: str) -> list[str]:
    return [
        f"{indent}for (int32_t block = 0; block * {program.rows} < {loop.rows}; ++block) {{",
        *emit.item_lines(loop.items, names, f"{indent}    ", None, "block"),
        f"{indent}}}",
    ]


def _plan(program: PointProgram, names: emit.Names) -> str:
    """The tables that sp_graph_build makes."""
    at = names.buffers
    return f"""static const sp_graph_table_t tables[] = {{
{"".join(_table(table, names) for table in program.tables)}}};
static const sp_graph_plan_t graph = {{
    .tables = tables,
    .count = {len(program.tables)},
    .points = {program.capacity},
    .single = {int(program.network.config.type == "pcn")},
    .words_offset = 4 * {at[program.words]},
    .work_offset = 4 * {at[program.work]},
    .work_bytes = {4 * program.work.floats}u,
}};
"""


def _table(table: Table, names: emit.Names) -> str:
    self = int(table.loops or table.drops_loops)
    search = f".cap = {table.search}, .radius = {c_text.double(table.radius)}, .rule = {RULES.index(table.rule)}"
    return f"""    {{
        .search = {{{search}, .self = {self}}},
        .share = {c_text.double(table.share)},
        .inside = {int(table.inside)},
        .without_loops = {int(table.drops_loops)},
        .targets = {table.room.targets},
        .points_offset = 4 * {names.buffers[table.points]},
        .kept_offset = 4 * {names.buffers[table.kept]},
    }},
"""
