"""YOLOX's neck and head (Ge et al. 2021) on the pyramid over a grid, as the paper's detectors have them.

Experiments.md D: three levels, finest first; every level has as many features as the grid.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BOTTLENECKS = 3
PRIOR = -math.log(99)  #: start of the class and objectness biases: a probability of 1 %

Levels = tuple[Tensor, Tensor, Tensor]


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, SiLU. Keeps the size, but for stride 2, which halves it."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, inputs, rows, columns] to [N, outputs, …]."""
        return F.silu(self.norm(self.conv(x)))


class Bottleneck(nn.Sequential):
    """1x1, then 3x3, without a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__(ConvNorm(width, width), ConvNorm(width, width, 3))


class Csp(nn.Module):
    """Cross-stage partial block: half of the features go through the bottlenecks, half around them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.first = ConvNorm(inputs, half)
        self.second = ConvNorm(inputs, half)
        self.third = ConvNorm(2 * half, outputs)
        self.bottlenecks = nn.Sequential(*(Bottleneck(half) for _ in range(BOTTLENECKS)))

    def forward(self, x: Tensor) -> Tensor:
        """x [N, inputs, rows, columns] to [N, outputs, rows, columns]."""
        both = torch.cat([self.bottlenecks(self.first(x)), self.second(x)], dim=1)
        mixed: Tensor = self.third(both)
        return mixed


class Pyramid(nn.Module):
    """The grid at twice, once and half its resolution. The middle one has to be even: an odd row or column is filled up
    with zeros ("pad"), or what has no half is left out ("crop", as the authors do)."""

    def __init__(self, width: int, odd_grid: str) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(width, width, 2, 2)
        self.odd_grid = odd_grid

    def forward(self, grid: Tensor) -> Levels:
        """grid [N, width, rows, columns] to the three levels, finest first."""
        rows, columns = grid.shape[-2:]
        if self.odd_grid == "pad":
            grid = F.pad(grid, (0, columns % 2, 0, rows % 2))
            return self.up(grid), grid, F.max_pool2d(grid, 2)
        rows, columns = rows - rows % 2, columns - columns % 2
        fine: Tensor = self.up(grid)
        return fine[..., : 2 * rows, : 2 * columns], grid[..., :rows, :columns], F.max_pool2d(grid, 2)


class Neck(nn.Module):
    """YOLOX-PAFPN: from coarse to fine and back, each level joined with its neighbour."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce_coarse = ConvNorm(width, width)
        self.up_middle = Csp(2 * width, width)
        self.reduce_middle = ConvNorm(width, width)
        self.up_fine = Csp(2 * width, width)
        self.down_fine = ConvNorm(width, width, 3, 2)
        self.down_middle = Csp(2 * width, width)
        self.down_middle_conv = ConvNorm(width, width, 3, 2)
        self.down_coarse = Csp(2 * width, width)

    def forward(self, levels: Levels) -> Levels:
        """Levels [N, width, rows, columns], finest first, to as many of the same sizes."""
        fine, middle, coarse = levels
        coarse = self.reduce_coarse(coarse)
        middle = self.reduce_middle(self.up_middle(torch.cat([_twice(coarse), middle], dim=1)))
        fine = self.up_fine(torch.cat([_twice(middle), fine], dim=1))
        middle = self.down_middle(torch.cat([self.down_fine(fine), middle], dim=1))
        coarse = self.down_coarse(torch.cat([self.down_middle_conv(middle), coarse], dim=1))
        return fine, middle, coarse


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class LevelHead(nn.Module):
    """One level's decoupled head."""

    def __init__(self, inputs: int, width: int, classes: int) -> None:
        super().__init__()
        self.stem = ConvNorm(inputs, width)
        self.classes = nn.Sequential(ConvNorm(width, width, 3), ConvNorm(width, width, 3))
        self.box = nn.Sequential(ConvNorm(width, width, 3), ConvNorm(width, width, 3))
        self.class_output = nn.Conv2d(width, classes, 1)
        self.box_output = nn.Conv2d(width, 4, 1)
        self.objectness_output = nn.Conv2d(width, 1, 1)
        for output in (self.class_output, self.objectness_output):
            assert output.bias is not None
            nn.init.constant_(output.bias, PRIOR)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, inputs, rows, columns] to [N, rows * columns, 5 + classes], row by row, boxes not yet in pixels."""
        stem = self.stem(x)
        boxes = self.box(stem)
        out = torch.cat(
            [self.box_output(boxes), self.objectness_output(boxes), self.class_output(self.classes(stem))], dim=1
        )
        return out.flatten(2).transpose(1, 2)


class Head(nn.Module):
    """All levels' heads. strides: pixels between the cells of each level."""

    def __init__(self, inputs: int, width: int, classes: int, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.strides = strides
        self.levels = nn.ModuleList(LevelHead(inputs, width, classes) for _ in strides)

    def forward(self, levels: Levels) -> Tensor:
        """Levels [N, inputs, rows, columns] to [N, cells, 5 + classes]: centre x, y, width and height in pixels,
        objectness logit, class logits. Cells of the finest level row by row, then those of the next."""
        parts = []
        for x, out, stride in zip(levels, self.raw(levels), self.strides, strict=True):
            place = _cells(x.shape[-2], x.shape[-1]).to(out)
            centre, size = (out[..., :2] + place) * stride, torch.exp(out[..., 2:4]) * stride
            parts.append(torch.cat([centre, size, out[..., 4:]], dim=-1))
        return torch.cat(parts, dim=1)

    def raw(self, levels: Levels) -> list[Tensor]:
        """Of each level what `LevelHead` gives."""
        return [head(x) for head, x in zip(self.levels, levels, strict=True)]


def _cells(rows: int, columns: int) -> Tensor:
    """Column and row of each cell, [rows * columns, 2]."""
    index = torch.arange(rows * columns)
    return torch.stack([index % columns, index // columns], dim=1)


def centres(rows: int, columns: int, strides: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Centres of all cells in pixels, float32 [cells, 2], and the stride of each, [cells].

    rows, columns: of the level whose stride is strides[1].
    """
    sizes = ((2 * rows, 2 * columns), (rows, columns), (rows // 2, columns // 2))
    places = [(_cells(*size) + 0.5) * stride for size, stride in zip(sizes, strides, strict=True)]
    widths = [torch.full((len(place),), float(stride)) for place, stride in zip(places, strides, strict=True)]
    return torch.cat(places), torch.cat(widths)
