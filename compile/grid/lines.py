"""A detector's nodes as C: a function for each, which computes one of its lines by kernels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import CompileError
from ..graph.nodes import Array
from ..kernels.base import Kernel
from ..kernels.lines import AfterKernel, BiasKernel, EachKernel, PoolKernel, SumsKernel, VectorSumsKernel, packed
from ..kernels.vector import COLUMNS, ROWS
from ..targets import Target
from ..text.c_text import constant_symbol
from .nodes import Conv, Each, Field, Leaf, Node, Piece, Pool, Spread, Term
from .rooms import Room

TILE = 4  # rows and columns of a tile of sums where there are no wide vectors: sixteen registers


@dataclass(frozen=True)
class Line:
    """A node's function: its name, what it computes, its main kernel, how often it runs, multiply-accumulates."""

    function: str
    computes: str
    kernel: str
    runs: int
    macs: int


@dataclass(frozen=True)
class _Run:
    """Cells that are read from `x` on every `x_step`, and written to `out` and on every `out_step`; in floats."""

    cells: int
    x: int
    x_step: int
    out: int
    out_step: int


@dataclass
class Lines:
    """The functions of all nodes. kernels: their C names. constants: what they read. text: the functions."""

    rooms: Mapping[Field, Room]
    target: Target
    kernels: dict[Kernel, str] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    text: list[str] = field(default_factory=list)

    def add(self, node: Node) -> Line:
        """Write a node's function."""
        if isinstance(node, Conv):
            kernel, body, macs = *self.conv(node), node.out.cells * node.weight.size
        elif isinstance(node, Spread):
            kernel, body, macs = *self.spread(node), node.out.cells * node.weight.size // 4
        elif isinstance(node, Pool):
            kernel, body, macs = *self.pool(node), 0
        else:
            assert isinstance(node, Each)
            kernel, body, macs = *self.each(node), 0
        name, out = f"line_{node.out.name}", node.out
        lines = "\n".join(f"    {line}" for line in body)
        self.text.append(
            f"/* Of {out.rows} x {out.columns} cells of {out.width}. */\n"
            f"static void {name}(float *a, int32_t y)\n{{\n{lines}\n}}\n"
        )
        return Line(name, out.name, kernel, node.steps, macs)

    # -- nodes
    def conv(self, node: Conv) -> tuple[str, list[str]]:
        body = [self.pointer("out", node.out, "y"), *self.begun(node.out, node.bias)]
        column = 0
        for piece in node.view.pieces:
            weight = node.weight[:, :, column : column + piece.width]
            column += piece.width
            line = "y" if node.stride == 1 else f"y * {node.stride}"
            body += [
                f"for (int32_t i = 0; i < {len(weight)}; ++i) {{",
                f"    const int32_t from = {line} + i - {node.top};",
                f"    if (from >= 0 && from < {node.view.lines(piece)}) {{",
                f"        {self.pointer('x', piece.field, 'from' if piece.up == 1 else f'from / {piece.up}')}",
            ]
            for matrices, runs in self.products(node, piece, weight):
                body += [f"        {line}" for line in self.sums(node.out, matrices, runs)]
            body += ["    }", "}"]
        if node.after:
            kernel = self.kernel(AfterKernel(1, node.after))
            body.append(f"{kernel}({self.extent(node.out)}, out);")
        return self.kernel(self.sums_kernel(self.tile)), body

    def products(self, node: Conv, piece: Piece, weight: Array) -> Iterator[tuple[Array, list[_Run]]]:
        """What is multiplied with what: matrices [kernel rows, depth, width], and where their operands lie."""
        x, out = self.rooms[piece.field], self.rooms[node.out]
        rows, columns, width, outputs = weight.shape
        inside = min(node.view.columns, piece.field.columns * piece.up)
        if columns == 1:
            if node.left or (piece.up > 1 and node.stride > 1):
                raise CompileError(
                    f"the detector's {node.out.name}: a 1x1 convolution has no padding and no steps here"
                )
            cells = min(node.out.columns, -(-inside // node.stride))
            yield (
                weight[:, 0],
                [
                    _Run(
                        -(-(cells - i) // piece.up),
                        piece.column,
                        node.stride * x.cell,
                        i * out.cell,
                        piece.up * out.cell,
                    )
                    for i in range(piece.up)
                ],
            )
        elif width == x.cell:  # neighbours in a line lie side by side: one product of them all
            run = _Run(node.out.columns, -node.left * x.cell, node.stride * x.cell, 0, out.cell)
            yield weight.reshape(rows, columns * width, outputs), [run]
        else:
            for i in range(columns):
                at = (i - node.left) * x.cell + piece.column
                yield weight[:, i], [_Run(node.out.columns, at, node.stride * x.cell, 0, out.cell)]

    def spread(self, node: Spread) -> tuple[str, list[str]]:
        out = self.rooms[node.out]
        body = ["for (int32_t i = 0; i < 2; ++i) {", f"    {self.pointer('out', node.out, '2 * y + i')}"]
        body += [f"    {line}" for line in self.begun(node.out, node.bias)]
        column = 0
        for piece in node.view.pieces:
            weight = node.weight[:, :, column : column + piece.width]
            column += piece.width
            if piece.up != 1:
                raise CompileError("the detector upsamples a field twice: what upsamples it first has to be a node")
            x, cells = self.rooms[piece.field], min(node.view.columns, piece.field.columns)
            body += [
                f"    if (y < {node.view.lines(piece)}) {{",
                f"        {self.pointer('x', piece.field, 'y')}",
            ]
            for i in (0, 1):
                run = _Run(cells, piece.column, x.cell, i * out.cell, 2 * out.cell)
                body += [f"        {line}" for line in self.sums(node.out, weight[:, i], [run])]
            body.append("    }")
        return self.kernel(self.sums_kernel(self.tile)), [*body, "}"]

    def pool(self, node: Pool) -> tuple[str, list[str]]:
        if len(node.view.pieces) != 1 or node.view.pieces[0].up != 1:
            raise CompileError("the detector pools fields side by side: one at a time can be")
        (piece,) = node.view.pieces
        x, out = self.rooms[piece.field], self.rooms[node.out]
        inside = min(node.view.columns, piece.field.columns)
        names = [
            self.kernel(PoolKernel(1, node.out.columns, piece.width, inside, (x.cell, out.cell), more))
            for more in (False, True)
        ]
        body = [self.pointer("out", node.out, "y"), self.pointer("x", piece.field, "2 * y")]
        body += self.cleared(node.out)
        body.append(f"{names[0]}({_plus('x', piece.column)}, out);")
        last, second = (
            node.view.lines(piece) - 1,
            f"{names[1]}({self.at(piece.field, '2 * y + 1', piece.column)}, out);",
        )
        if 2 * node.out.rows - 1 <= last:
            return names[0], [*body, second]
        if 2 * node.out.rows - 2 > last:
            raise CompileError("the detector pools lines that are nothing but padding")
        beyond = f"{self.kernel(AfterKernel(1, ('relu',)))}({self.extent(node.out)}, out);"
        return names[0], [*body, f"if (2 * y < {last}) {{", f"    {second}", "} else {", f"    {beyond}", "}"]

    def each(self, node: Each) -> tuple[str, list[str]]:
        pieces: list[Piece] = []
        vectors: list[Array] = []

        def term_of(arg: Term | Leaf) -> tuple[Any, ...]:
            if isinstance(arg, Term):
                return (arg.op, *(term_of(a) for a in arg.args))
            if isinstance(arg.value, Piece):
                if arg.value not in pieces:
                    pieces.append(arg.value)
                return ("x", pieces.index(arg.value))
            if arg.value.ndim == 0:
                return ("c", float(arg.value))
            vectors.append(arg.value)
            return ("v", len(vectors) - 1)

        term = term_of(node.term)
        steps = tuple(self.rooms[f].cell for f in (*(p.field for p in pieces), node.out))
        kernel = self.kernel(EachKernel(1, node.out.columns, node.out.width, term, steps, len(vectors)))
        symbols = [self.constant(f"{node.out.name}_vector", v) for v in vectors]
        args = [self.at(p.field, "y", p.column) for p in pieces] + symbols
        body = [self.pointer("out", node.out, "y"), *self.cleared(node.out), f"{kernel}({', '.join([*args, 'out'])});"]
        return kernel, body

    # -- pieces of functions
    @property
    def tile(self) -> int:
        """Columns of a tile of sums."""
        return COLUMNS if self.target.vectors else TILE

    def sums_kernel(self, tile: int) -> SumsKernel:
        """The kernel for tiles of so many columns."""
        kind = VectorSumsKernel if self.target.vectors and tile == COLUMNS else SumsKernel
        return kind(ROWS if self.target.vectors else TILE, tile, 4)

    def sums(self, out: Field, matrices: Array, runs: Sequence[_Run]) -> list[str]:
        """Calls that add products of `x` to `out`. matrices: [lines i, depth, width]."""
        _, depth, width = matrices.shape
        whole, rest = width // self.tile, width % self.tile
        parts = [np.concatenate(packed(matrix, self.tile)) for matrix in matrices]
        symbol = self.constant(f"{out.name}_weight", np.stack(parts))
        at = symbol if len(parts) == 1 else f"{symbol} + i * {depth * width}"
        calls = []
        for run in runs:
            for tile, tiles, first in ((self.tile, whole, 0), (rest, 1, whole * self.tile)):
                if not tile * tiles:
                    continue
                kernel = self.sums_kernel(tile)
                sizes = (run.cells // kernel.rows, run.cells % kernel.rows, run.x_step, depth, tiles, run.out_step)
                args = (_plus("x", run.x), _plus(at, depth * first), *map(str, sizes), _plus("out", run.out + first))
                calls.append(f"{self.kernel(kernel)}({', '.join(args)});")
        return calls

    def begun(self, out: Field, bias: Array) -> list[str]:
        """Let `out` be the bias, with zeros around it."""
        symbol = self.constant(f"{out.name}_bias", bias)
        room = self.rooms[out]
        call = f"{self.kernel(BiasKernel(1))}({symbol}, {out.columns}, {out.width}, {room.cell}, out);"
        return [*self.cleared(out), call]

    def cleared(self, out: Field) -> list[str]:
        """Zeros to the left and to the right of a line `out`."""
        room = self.rooms[out]
        margins = ((-room.left, room.left), (out.columns, room.right))
        return [f"clear({_plus('out', at * room.cell)}, {n * room.cell});" for at, n in margins if n]

    def extent(self, out: Field) -> str:
        """The arguments of a kernel on all numbers of a line: cells, width and step."""
        room = self.rooms[out]
        whole = (1, out.columns * out.width, 0) if room.cell == out.width else (out.columns, out.width, room.cell)
        return ", ".join(map(str, whole))

    def pointer(self, name: str, of: Field, y: str) -> str:
        """The declaration of a pointer to cell 0 of a line."""
        return f"float *const {name} = {self.at(of, y)};"

    def at(self, of: Field, y: str, column: int = 0) -> str:
        """Where a line of a field begins."""
        room = self.rooms[of]
        line = f"({y}) % {room.ring}" if 1 < room.ring < of.rows else f"({y})"
        start = _plus(f"a + {place_name(room.name)}", room.start + column)
        return start if room.ring == 1 else f"{start} + {line} * {room.line}"

    def kernel(self, kernel: Kernel) -> str:
        """A kernel's C name."""
        clashes = sum(k.title == kernel.title for k in self.kernels if k != kernel)
        return self.kernels.setdefault(kernel, f"sp_k_{kernel.title}{f'_v{clashes + 1}' if clashes else ''}")

    def constant(self, name: str, values: Array) -> str:
        """The C name of a new constant."""
        number = sum(n.startswith(f"{name}_") for n in self.constants)
        self.constants[f"{name}_{number}"] = np.ascontiguousarray(values, np.float32)
        return constant_symbol(f"{name}_{number}")


def place_name(name: str) -> str:
    """The C name of a place in the arena."""
    return f"AT_{name.upper()}"


def _plus(pointer: str, offset: int) -> str:
    return pointer if not offset else f"{pointer} {'+' if offset > 0 else '-'} {abs(offset)}"
