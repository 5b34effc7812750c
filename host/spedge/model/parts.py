"""The parts that a model's description is made of: task, representation and family.

Each is a frozen dataclass whose `type` names it in a document, and whose `problems` are sentences about numbers of its
own that cannot be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from spedge.base.errors import UsageError
from spedge.tokens.embedding import MAX_BUCKETS
from spedge.tokens.graph import RULES
from spedge.tokens.settings import TokenizerSettings

MAX_WINDOW = 65535
ATTENTIONS = ("full", "causal")
ORIGINS = ("window", "sample")


@dataclass(frozen=True)
class Sensor:
    """Size in pixels."""

    width: int
    height: int

    def problems(self) -> Iterator[str]:
        """What cannot be."""
        if not all(1 <= side <= 65535 for side in (self.width, self.height)):
            yield f"a sensor of {self.width}x{self.height} pixels; its sides are 1 to 65535"


# ---------------------------------------------------------------- tasks


@dataclass(frozen=True)
class Classification:
    """One of the labels for what is seen. Output: logits (classes,)."""

    type: ClassVar[str] = "classification"
    labels: tuple[str, ...]

    def problems(self) -> Iterator[str]:
        """What cannot be."""
        yield from _label_problems(self.labels)


@dataclass(frozen=True)
class Detection:
    """Boxes of the labels' classes, at every step of stream time. Output: head (n, 5 + classes), a row for each cell of
    each level, finest first and row by row: dx, dy, log w, log h in cells of its level, the logit of an object's being
    there, and one for each class. Boxes of a score of at least `score` are kept and thinned class by class at `nms_iou`
    (`spedge.model.boxes`).

    strides: pixels between the cells of each level of boxes, finest first. step_us: stream time of a step.
    reverse_time: a token's or event's time counts back from the step's end.
    """

    type: ClassVar[str] = "detection"
    labels: tuple[str, ...]
    strides: tuple[int, ...]
    step_us: int = 50_000
    score: float = 0.1
    nms_iou: float = 0.45
    reverse_time: bool = True

    def problems(self) -> Iterator[str]:
        """What cannot be."""
        yield from _label_problems(self.labels)
        if not (0 <= self.score <= 1 and 0 <= self.nms_iou <= 1):
            yield f"a score of {self.score} or an IoU of {self.nms_iou}, which are 0 to 1"
        yield from _positive(self.type, step_us=self.step_us)


Task = Classification | Detection

# ---------------------------------------------------------------- representations


@dataclass(frozen=True)
class Embedding:
    """Log-time volume with `buckets` ages, mapped to `hidden` features; times are divided by `time_scale_us`."""

    buckets: int = 10
    hidden: int = 64
    time_scale_us: float = 50_000.0


@dataclass(frozen=True)
class TokenInput:
    """Embedded tokens. window: the newest tokens that the model sees; None: all of a sample, while it is trained.

    origin: what their times count from: "window", its first token, as on a device; "sample", the time 0 of a sample,
    as published.
    """

    type: ClassVar[str] = "tokens"
    tokenizer: TokenizerSettings
    embedding: Embedding
    window: int | None = None
    origin: str = "window"

    @property
    def cells(self) -> int:
        """Cells of a token's log-time volume, 2 * buckets * P * P."""
        return 2 * self.embedding.buckets * self.tokenizer.patch_size**2

    @property
    def features(self) -> int:
        """Of each token."""
        return self.embedding.hidden

    def problems(self) -> Iterator[str]:
        """What cannot be."""
        try:
            self.tokenizer.checked()
        except UsageError as error:
            yield f"its tokenizer: {error}"
        if self.tokenizer.pool_events is not None:
            yield "its tokenizer has a pool of events, which a device has and not a model"
        if not 1 <= self.embedding.buckets <= MAX_BUCKETS:
            yield f"embedding.buckets is {self.embedding.buckets}; it must be 1 to {MAX_BUCKETS}"
        yield from _positive("embedding", hidden=self.embedding.hidden, time_scale_us=self.embedding.time_scale_us)
        if self.window is not None and not 1 <= self.window <= MAX_WINDOW:
            yield f"its window has {self.window} tokens; give 1 to {MAX_WINDOW}"
        if self.origin not in ORIGINS:
            yield f"its times count from the {self.origin!r}; choose one of {', '.join(ORIGINS)}"


@dataclass(frozen=True)
class EventInput:
    """Raw events, `count` at most, each with a learned vector of `features` for its polarity.

    keep: which of too many, "first" or "last". Times are divided by `time_scale_us`, positions are pixels.
    """

    type: ClassVar[str] = "events"
    count: int
    keep: str = "first"
    features: int = 16
    time_scale_us: float = 10_000.0

    def problems(self) -> Iterator[str]:
        """What cannot be."""
        yield from _positive(self.type, count=self.count, features=self.features, time_scale_us=self.time_scale_us)
        if self.keep not in ("first", "last"):
            yield f"it keeps the {self.keep!r} events; keep the first or the last"


Representation = TokenInput | EventInput

# ---------------------------------------------------------------- families


@dataclass(frozen=True)
class Transformer:
    """attention: "full" (CLS in front, all tokens of a window attend to each other) or "causal" (a token attends to
    itself and those before it, mean pooling: computed token by token)."""

    type: ClassVar[str] = "transformer"
    hidden: int = 64
    intermediate: int = 128
    heads: int = 4
    layers: int = 2
    attention: str = "full"

    @property
    def takes(self) -> int:
        """Features of each token."""
        return self.hidden

    @property
    def gives(self) -> int:
        """Features of each token, after the layers."""
        return self.hidden

    def problems(self) -> Iterator[str]:
        """What cannot be."""
        sizes = {name: getattr(self, name) for name in ("hidden", "intermediate", "heads", "layers")}
        yield from _positive(self.type, **sizes)
        if self.heads > 0 and self.hidden % self.heads:
            yield f"{self.heads} heads do not divide {self.hidden} hidden features"
        if self.attention not in ATTENTIONS:
            yield f"its attention is {self.attention!r}; choose one of {', '.join(ATTENTIONS)}"


class _OnPoints:
    """What families on graphs have in common. channels: features before the layers, between them, and after them.

    rule: which neighbours stay where there are more than `neighbours`, one of `spedge.tokens.graph.RULES`.
    """

    channels: tuple[int, ...]
    rule: str

    @property
    def takes(self) -> int:
        """Features of each node or point."""
        return self.channels[0]

    @property
    def gives(self) -> int:
        """Features of each node or point, after the layers or stages."""
        return self.channels[-1]


@dataclass(frozen=True)
class Gnn(_OnPoints):
    """Spline convolutions on the nodes closer than `node_radius`, sampling of `fps_ratio` of them, and spline
    convolutions within `pool_radius`. Radii are in units of the positions: patches or pixels, and scaled time."""

    type: ClassVar[str] = "gnn"
    node_radius: float
    pool_radius: float
    fps_ratio: float
    channels: tuple[int, ...] = (16, 32, 128)
    neighbours: int = 32
    kernel: int = 4
    rule: str = "nearest"

    def problems(self) -> Iterator[str]:
        """What cannot be."""
        sizes = {name: getattr(self, name) for name in ("node_radius", "pool_radius", "kernel")}
        yield from _positive(self.type, **sizes)
        yield from _graph_problems(self, (self.fps_ratio,), self.neighbours)


@dataclass(frozen=True)
class Pcn(_OnPoints):
    """PointNet++: one stage for each radius, which samples a ratio of the points and looks at their neighbours."""

    type: ClassVar[str] = "pcn"
    radii: tuple[float, ...]
    fps_ratios: tuple[float, ...]
    channels: tuple[int, ...] = (16, 32, 128)
    neighbours: int = 64
    rule: str = "nearest"

    def problems(self) -> Iterator[str]:
        """What cannot be."""
        for radius in self.radii:
            yield from _positive(self.type, radius=radius)
        yield from _graph_problems(self, self.fps_ratios, self.neighbours)
        if not len(self.radii) == len(self.fps_ratios) == len(self.channels) - 1 >= 1:
            yield (
                f"{len(self.radii)} radii, {len(self.fps_ratios)} ratios and {len(self.channels)} channels; a pcn has "
                "a radius and a ratio for each stage, and the channels before and after each"
            )


Encoder = Transformer | Gnn | Pcn


@dataclass(frozen=True)
class Detector:
    """An encoder pooled into a grid, an LSTM for every cell carried over the steps, a pyramid, neck and head.

    cell: side of a grid's cell, in patches, or in pixels for raw events. hidden: features of LSTM, pyramid and neck.
    head: features of the head. odd_grid: "pad" or "crop" (as the authors) where the grid has an odd side.
    """

    type: ClassVar[str] = "detector"
    encoder: Encoder
    hidden: int
    cell: int = 1
    head: int = 256
    odd_grid: str = "pad"

    @property
    def takes(self) -> int:
        """Features of each token, node or point."""
        return self.encoder.takes

    @property
    def gives(self) -> int:
        """Features of each cell of the grid."""
        return self.hidden

    def cell_pixels(self, representation: Representation) -> int:
        """Side of a grid's cell in pixels."""
        patch = representation.tokenizer.patch_size if isinstance(representation, TokenInput) else 1
        return self.cell * patch

    def strides(self, representation: Representation) -> tuple[int, ...]:
        """Pixels between the cells of each level, finest first."""
        side = self.cell_pixels(representation)
        return side // 2, side, 2 * side

    def grid(self, sensor: Sensor, representation: Representation) -> tuple[int, int]:
        """Rows and columns of cells."""
        side = self.cell_pixels(representation)
        return -(-sensor.height // side), -(-sensor.width // side)

    def even_grid(self, sensor: Sensor, representation: Representation) -> tuple[int, int]:
        """Rows and columns of the middle level: the grid, filled up or cropped where a side is odd."""
        rows, columns = self.grid(sensor, representation)
        change = 1 if self.odd_grid == "pad" else -1
        return rows + change * (rows % 2), columns + change * (columns % 2)

    def boxes(self, sensor: Sensor, representation: Representation) -> int:
        """How many boxes the head gives, of all levels together."""
        rows, columns = self.even_grid(sensor, representation)
        return 4 * rows * columns + rows * columns + (rows // 2) * (columns // 2)

    def problems(self) -> Iterator[str]:
        """What cannot be."""
        yield from self.encoder.problems()
        yield from _positive(self.type, cell=self.cell, hidden=self.hidden, head=self.head)
        if self.odd_grid not in ("pad", "crop"):
            yield f"its odd_grid is {self.odd_grid!r}; choose pad or crop"


Model = Transformer | Gnn | Pcn | Detector


def _label_problems(labels: tuple[str, ...]) -> Iterator[str]:
    if not 1 <= len(labels) <= 65535 or len(set(labels)) != len(labels):
        yield "its labels have to be at least one, and all different"


def _graph_problems(part: Gnn | Pcn, ratios: tuple[float, ...], neighbours: int) -> Iterator[str]:
    name, channels = part.type, part.channels
    if not all(0 < ratio <= 1 for ratio in ratios):
        yield f"a {name} samples a share of the points, more than 0 and at most 1, not {ratios}"
    if len(channels) < 2:
        yield f"a {name} has at least two channels, not {channels}"
    for count in (*channels, neighbours):
        yield from _positive(name, channels_and_neighbours=count)
    if part.rule not in RULES:
        yield f"its {name} keeps neighbours by the rule {part.rule!r}; choose one of {', '.join(RULES)}"


def _positive(where: str, **numbers: float) -> Iterator[str]:
    for name, number in numbers.items():
        if not (math.isfinite(number) and number > 0):
            yield f"{where}.{name} is {number}; it must be more than 0"
