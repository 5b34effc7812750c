"""A GNN or PCN as the layers that it is made of, whose order its description says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from spedge.model.parts import Gnn, Pcn

from ..errors import CompileError
from ..graph.nodes import Array

KERNEL = 4  #: knots of a spline along each axis
CELLS = KERNEL**3


@dataclass(frozen=True)
class Layer:
    """x @ weight [inputs, outputs] + bias, then relu, elu or nothing, then * scale + shift; without what is None."""

    weight: Array
    bias: Array | None = None
    activation: str = ""
    scale: Array | None = None
    shift: Array | None = None

    @property
    def inputs(self) -> int:
        return int(self.weight.shape[0])

    @property
    def outputs(self) -> int:
        return int(self.weight.shape[1])

    def times(self, factor: Array) -> Layer:
        """With what follows multiplied, feature by feature."""
        if self.activation:
            scale = factor if self.scale is None else self.scale * factor
            return replace(self, scale=scale, shift=None if self.shift is None else self.shift * factor)
        return replace(self, weight=self.weight * factor, bias=None if self.bias is None else self.bias * factor)

    def plus(self, addend: Array) -> Layer:
        """With something added to what follows, feature by feature."""
        if self.activation:
            return replace(self, shift=addend if self.shift is None else self.shift + addend)
        return replace(self, bias=addend if self.bias is None else self.bias + addend)


@dataclass(frozen=True)
class Network:
    """convolutions: of a GNN, seven. stages: of a PCN, three layers each; points: its three on the last centres. head:
    on the largest of each feature."""

    config: Gnn | Pcn
    features: int
    convolutions: tuple[Layer, ...] = ()
    stages: tuple[tuple[Layer, ...], ...] = ()
    points: tuple[Layer, ...] = ()
    head: tuple[Layer, ...] = ()


def network(config: Gnn | Pcn, layers: Sequence[Layer], classes: int) -> Network:
    """The layers of a graph, in its order, in their places. Raises CompileError for others than the description's."""
    found = _gnn(config, layers) if isinstance(config, Gnn) else _pcn(config, layers)
    wanted = _sizes(config, classes)
    shapes = [layer.weight.shape for layer in layers]
    acts = [layer.activation for layer in layers]
    if shapes != [size for size, _ in wanted] or acts != [act for _, act in wanted]:
        raise CompileError(
            f"encoder.onnx has products with {', '.join(f'{a}x{b}' for a, b in shapes)} weights, and a {config.type} "
            f"of the bundle's description has {', '.join(f'{a}x{b}' for (a, b), _ in wanted)}, with what follows them"
        )
    return found


def _sizes(config: Gnn | Pcn, classes: int) -> list[tuple[tuple[int, int], str]]:
    """Shape of each weight, and the activation that follows."""
    if isinstance(config, Gnn):
        first, middle, last = config.channels
        widths = [(first, middle), *[(middle, middle)] * 3, (middle, last), (last, last), (last, last)]
        convolutions = [((CELLS * a, b), "elu") for a, b in widths]
        return [*convolutions, ((last, classes), "")]
    found: list[tuple[tuple[int, int], str]] = []
    for a, b in zip(config.channels[:-1], config.channels[1:], strict=True):
        found += [((a + 3, a), "relu"), ((a, a), "relu"), ((a, b), "")]
    width = config.gives
    found += [((width + 3, width), "relu"), ((width, width), "relu"), ((width, width), "")]
    return [*found, ((width, width), "relu"), ((width, width), "relu"), ((width, classes), "")]


def _gnn(config: Gnn, layers: Sequence[Layer]) -> Network:
    return Network(config, config.takes, convolutions=tuple(layers[:-1]), head=tuple(layers[-1:]))


def _pcn(config: Pcn, layers: Sequence[Layer]) -> Network:
    stages = len(config.radii)
    threes = [tuple(layers[at : at + 3]) for at in range(0, len(layers), 3)]
    points, head = (*threes[stages : stages + 2], (), ())[:2]
    return Network(config, config.takes, stages=tuple(threes[:stages]), points=points, head=head)


def elu(x: Array) -> Array:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0))).astype(np.float32)
