"""The kernels: what each computes, as TensorIR with the tiling of the target.

Every kernel works on a block of `rows` rows. A linear kernel keeps a tile of rows x columns sums in
registers; its weights are packed so that a tile's are contiguous. Attention kernels take one head and
loop over the keys that are present. All take plain pointers; nothing is allocated but register tiles.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from .builder import Builder

KEY_TILE = 4  # keys per tile; a row of scores is padded to a multiple of it
PANEL = 4  # rows of a panel, columns of a tile


@dataclass(frozen=True)
class Layout:
    """How a matrix with `size` columns lies in memory.

    Row by row; `panel`: in panels of four rows, each column by column; `tile`: in tiles of four columns, each row by
    row, the tiles `tile` floats apart. A kernel's rows start at a whole panel, or are one row alone.
    """

    size: int
    panel: bool = False
    tile: int = 0

    def at(self, row: Any, column: Any) -> Any:
        """The place of an element; row and column are numbers or TensorIR's."""
        if self.tile:
            return column // PANEL * self.tile + row * PANEL + column % PANEL
        if self.panel:
            return row // PANEL * (PANEL * self.size) + column * PANEL + row % PANEL
        return row * self.size + column

    def column(self, at: int) -> int:
        """The column of a place in the first row."""
        return at // self.tile * PANEL if self.tile else at // PANEL if self.panel else at

    def block(self, rows: int) -> int:
        """Floats from a block of rows to the next."""
        return rows * (PANEL if self.tile else self.size)


@dataclass(frozen=True)
class Step:
    """One elementwise operation of a kernel's epilogue.

    An operand is ("t", i): result i, where 0 is what the epilogue starts from; ("x", i): extra input
    row matrix i; ("v", i): extra constant vector i; ("c", x): the number x.
    """

    op: str
    operands: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Parameter:
    """name; kind: "in", "out", "both" (pointers to `dtype`) or "int"."""

    name: str
    kind: str
    dtype: str = "float32"


@dataclass(frozen=True)
class Kernel:
    """Base: a kernel is its parameters; equal kernels are one C function."""

    rows: int

    @property
    def title(self) -> str:
        raise NotImplementedError

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        raise NotImplementedError

    def macs(self, keys: int) -> int:
        """Multiply-accumulates of one call with that many keys."""
        return 0

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class Epilogue:
    """Elementwise steps, with extra inputs that lie as `layouts` say."""

    steps: tuple[Step, ...] = ()
    layouts: tuple[Layout, ...] = ()
    vectors: int = 0

    @property
    def title(self) -> str:
        return "".join(f"_{s.op}" for s in self.steps)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        matrices = tuple(Parameter(f"x{i}", "in") for i in range(len(self.layouts)))
        return matrices + tuple(Parameter(f"v{i}", "in") for i in range(self.vectors))

    def apply(self, b: Builder, p: dict[str, Any], start: Any, row: Any, column: Any) -> Any:
        """The epilogue's result for one element that starts as `start`."""
        read: dict[str, Callable[[int], Any]] = {
            "t": lambda i: results[i],
            "x": lambda i: p[f"x{i}"][self.layouts[i].at(row, column)],
            "v": lambda i: p[f"v{i}"][column],
        }
        results = [start]
        for step in self.steps:
            values = [b.number(v) if k == "c" else read[k](int(v)) for k, v in step.operands]
            results.append(b.local(ELEMENTWISE[step.op](b, *values)))
        return results[-1]


@dataclass(frozen=True)
class LinearKernel(Kernel):
    """out[r, c] = epilogue(bias[c] + sum_k x[r, k] w[c / tile][k][c % tile])."""

    depth: int
    width: int
    tile: int
    unroll: int
    bias: bool
    x: Layout
    out: Layout
    epilogue: Epilogue = Epilogue()

    @property
    def title(self) -> str:
        return f"linear{self.epilogue.title}_{self.rows}x{self.depth}x{self.width}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        bias = (Parameter("bias", "in"),) if self.bias else ()
        return (
            Parameter("x", "in"),
            Parameter("w", "in"),
            *bias,
            *self.epilogue.parameters,
            Parameter("out", "out"),
        )

    def macs(self, keys: int) -> int:
        return self.rows * self.depth * self.width

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        rows, tile = range(self.rows), range(self.tile)
        with b.loop(self.width // self.tile, "tile") as t:
            sums = b.array(self.rows * self.tile, "sums")
            for r in rows:
                for c in tile:
                    b.store(sums, r * self.tile + c, self.start(b, p, t * self.tile + c))

            def step(k: Any) -> None:
                weights = [b.local(self.weight(b, p, (t * self.depth + k) * self.tile + c), "w") for c in tile]
                for r in rows:
                    x = b.local(p["x"][self.x.at(r, k)], "x")
                    for c in tile:
                        at = r * self.tile + c
                        b.store(sums, at, b.fma(x, weights[c], sums[at]))

            b.unrolled(self.depth, self.unroll, step)
            for r in rows:
                for c in tile:
                    column = t * self.tile + c
                    total = self.finish(b, p, sums[r * self.tile + c], column)
                    value = self.epilogue.apply(b, p, total, r, column)
                    b.store(p["out"], self.out.at(r, column), value)

    def packed(self, weight: NDArray[Any]) -> NDArray[Any]:
        """Weights [k, width] as the kernel reads them: [tiles, k, tile]."""
        return weight.reshape(len(weight), -1, self.tile).transpose(1, 0, 2)

    def start(self, b: Builder, p: dict[str, Any], column: Any) -> Any:
        """What a sum starts from."""
        return p["bias"][column] if self.bias else b.number(0)

    def weight(self, b: Builder, p: dict[str, Any], at: Any) -> Any:
        """A weight as a number to multiply with."""
        return p["w"][at]

    def finish(self, b: Builder, p: dict[str, Any], total: Any, column: Any) -> Any:
        """The linear's result from its sum."""
        return total


@dataclass(frozen=True)
class NormKernel(Kernel):
    """Layer normalisation: (x - mean) / sqrt(variance + epsilon), then scale and shift if given."""

    width: int
    epsilon: float
    affine: bool
    x: Layout
    out: Layout

    @property
    def title(self) -> str:
        return f"norm_{self.rows}x{self.width}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        affine = (Parameter("scale", "in"), Parameter("shift", "in")) if self.affine else ()
        return (Parameter("x", "in"), *affine, Parameter("out", "out"))

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        with b.loop(self.rows, "row") as row:
            sums = b.array(4, "sums")

            def x(k: Any) -> Any:
                return p["x"][self.x.at(row, k)]

            def total(add: Callable[[Any, int], Any]) -> Any:
                for i in range(4):
                    b.store(sums, i, b.number(0))
                lanes = itertools.cycle(range(4))

                def step(k: Any) -> None:
                    lane = next(lanes)
                    b.store(sums, lane, add(k, lane))

                b.unrolled(self.width, 8, step)
                return b.local(((sums[0] + sums[1]) + (sums[2] + sums[3])) * b.number(1 / self.width), "mean")

            mean = total(lambda k, i: sums[i] + x(k))

            def square(k: Any, i: int) -> Any:
                d = b.local(x(k) - mean, "d")
                return b.fma(d, d, sums[i])

            variance = total(square)
            scale = b.local(b.number(1) / b.sqrt(variance + b.number(self.epsilon)), "scale")

            def write(k: Any) -> None:
                value = (x(k) - mean) * scale
                if self.affine:
                    value = b.fma(value, p["scale"][k], p["shift"][k])
                b.store(p["out"], self.out.at(row, k), value)

            b.unrolled(self.width, 8, write)


@dataclass(frozen=True)
class MapKernel(Kernel):
    """Elementwise: out = epilogue(x)."""

    width: int
    x: Layout
    out: Layout
    epilogue: Epilogue

    @property
    def title(self) -> str:
        return f"map{self.epilogue.title}_{self.rows}x{self.width}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("x", "in"), *self.epilogue.parameters, Parameter("out", "out"))

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        with b.loop(self.rows, "row") as row, b.loop(self.width, "column") as column:
            start = p["x"][self.x.at(row, column)]
            value = self.epilogue.apply(b, p, start, row, column)
            b.store(p["out"], self.out.at(row, column), value)


@dataclass(frozen=True)
class ScoresKernel(Kernel):
    """scores[r, j] = q[r] . k[j] for `tiles` tiles of KEY_TILE keys."""

    depth: int
    q: Layout
    k: Layout
    row_scores: int
    unroll: int

    @property
    def title(self) -> str:
        return f"scores_{self.rows}x{self.depth}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("q", "in"), Parameter("k", "in"), Parameter("scores", "out"), Parameter("tiles", "int"))

    def macs(self, keys: int) -> int:
        return self.rows * self.depth * keys

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        rows, tile = range(self.rows), range(KEY_TILE)
        with b.loop(p["tiles"], "tile") as t:
            sums = b.array(self.rows * KEY_TILE, "sums")
            for i in range(self.rows * KEY_TILE):
                b.store(sums, i, b.number(0))

            def step(d: Any) -> None:
                keys = [b.local(p["k"][self.k.at(t * KEY_TILE + c, d)], "k") for c in tile]
                for r in rows:
                    q = b.local(p["q"][self.q.at(r, d)], "q")
                    for c in tile:
                        b.store(sums, r * KEY_TILE + c, b.fma(q, keys[c], sums[r * KEY_TILE + c]))

            b.unrolled(self.depth, self.unroll, step)
            for r in rows:
                for c in tile:
                    b.store(p["scores"], r * self.row_scores + t * KEY_TILE + c, sums[r * KEY_TILE + c])


@dataclass(frozen=True)
class SoftmaxKernel(Kernel):
    """scores[r, j] = 2^(scores[r, j] - max), inverse[r] = 1 / their sum, over `keys` keys.

    The scores after `keys` in the last tile are overwritten first, so that they count as nothing.
    """

    row_scores: int

    @property
    def title(self) -> str:
        return f"softmax_{self.rows}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("scores", "both"),
            Parameter("inverse", "out"),
            Parameter("keys", "int"),
            Parameter("tiles", "int"),
        )

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        scores, tile = p["scores"], range(KEY_TILE)
        with b.loop(self.rows, "row") as row:
            start = row * self.row_scores
            with b.loop(p["tiles"] * KEY_TILE - p["keys"], "pad") as j:
                b.store(scores, start + p["keys"] + j, b.number(-1e30))
            state = b.array(2, "state")
            b.store(state, 0, scores[start])
            b.store(state, 1, b.number(0))
            with b.loop(p["tiles"], "tile") as t:
                for c in tile:
                    b.store(state, 0, b.maximum(state[0], scores[start + t * KEY_TILE + c]))
            top = b.local(state[0], "top")
            with b.loop(p["tiles"], "tile") as t:
                for c in tile:
                    at = start + t * KEY_TILE + c
                    weight = b.local(b.call("sp_k_exp2f", scores[at] - top), "weight")
                    b.store(scores, at, weight)
                    b.store(state, 1, state[1] + weight)
            b.store(p["inverse"], row, b.number(1) / state[1])


@dataclass(frozen=True)
class MixKernel(Kernel):
    """out[r, d] = inverse[r] * sum_j weights[r, j] v[j, d] over `keys` keys."""

    depth: int
    tile: int
    v: Layout
    out: Layout
    row_scores: int

    @property
    def title(self) -> str:
        return f"mix_{self.rows}x{self.depth}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter("weights", "in"),
            Parameter("inverse", "in"),
            Parameter("v", "in"),
            Parameter("out", "out"),
            Parameter("keys", "int"),
        )

    def macs(self, keys: int) -> int:
        return self.rows * self.depth * keys

    def body(self, b: Builder, p: dict[str, Any]) -> None:
        rows, tile = range(self.rows), range(self.tile)
        with b.loop(self.depth // self.tile, "tile") as t:
            sums = b.array(self.rows * self.tile, "sums")
            for i in range(self.rows * self.tile):
                b.store(sums, i, b.number(0))

            def step(j: Any) -> None:
                values = [b.local(p["v"][self.v.at(j, t * self.tile + c)], "v") for c in tile]
                for r in rows:
                    weight = b.local(p["weights"][r * self.row_scores + j], "weight")
                    for c in tile:
                        b.store(sums, r * self.tile + c, b.fma(weight, values[c], sums[r * self.tile + c]))

            b.unrolled(p["keys"], KEY_TILE, step)
            for r in rows:
                inverse = b.local(p["inverse"][r], "inverse")
                for c in tile:
                    at = self.out.at(r, t * self.tile + c)
                    b.store(p["out"], at, sums[r * self.tile + c] * inverse)


ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "add": lambda b, x, y: x + y,
    "subtract": lambda b, x, y: x - y,
    "multiply": lambda b, x, y: x * y,
    "divide": lambda b, x, y: x / y,
    "maximum": lambda b, x, y: b.maximum(x, y),
    "minimum": lambda b, x, y: -b.maximum(-x, -y),
    "negative": lambda b, x: -x,
    "abs": lambda b, x: b.maximum(x, -x),
    "relu": lambda b, x: b.maximum(x, b.number(0)),
    "elu": lambda b, x: b.call("sp_k_eluf", x),
    "sqrt": lambda b, x: b.sqrt(x),
    "exp": lambda b, x: b.call("sp_k_expf", x),
    "erf": lambda b, x: b.call("sp_k_erff", x),
    "tanh": lambda b, x: b.call("sp_k_tanhf", x),
    "sigmoid": lambda b, x: b.call("sp_k_sigmoidf", x),
    "silu": lambda b, x: x * b.call("sp_k_sigmoidf", x),
    "gelu": lambda b, x: b.call("sp_k_geluf", x),
}
