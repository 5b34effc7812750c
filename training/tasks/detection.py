"""Detection: SimOTA's assignment of labels to cells and the losses (Ge et al. 2021; experiments.md D).

Boxes are centre x, centre y, width, height in pixels. Labels of a step: float32 [n, 5], class and box.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from spedge.model.boxes import keep
from spedge.model.parts import Detection, Sensor

from ..metrics.coco import SCORED_DTYPE

if TYPE_CHECKING:
    from ..models.detector import DetectorModel
    from ..represent.collate_steps import StepBatch

ZONE = 1.5  #: a cell may answer for a label when it is nearer to its centre, on both axes, than so many strides
BEST = 10  #: IoUs that are added up to say how many cells answer for a label
IOU_COST, OUTSIDE_COST = 3.0, 1e6
BOX_WEIGHT = 5.0


class Cells(NamedTuple):
    """Where the cells are: centres float32 [cells, 2] in pixels, and their strides [cells] (`yolox.centres`)."""

    centre: Tensor
    stride: Tensor


class Assignment(NamedTuple):
    """label: int64 [steps, cells], which of its step's labels a cell answers for, -1 none. iou: float32, with it."""

    label: Tensor
    iou: Tensor


class Losses(NamedTuple):
    """total is box + objectness + classes; positives: cells that answer for a label, per label."""

    total: Tensor
    box: Tensor
    objectness: Tensor
    classes: Tensor
    positives: float


def losses(raw: Tensor, labels: Sequence[Tensor], cells: Cells) -> Losses:
    """raw: [steps, cells, 5 + classes], as `yolox.Head` gives it. labels: of each step."""
    raw = raw.float()
    given, there = _padded(labels, raw)
    answering = assign(raw.detach(), given, there, cells)
    step, cell = torch.nonzero(answering.label >= 0, as_tuple=True)
    found, own = raw[step, cell], given[step, answering.label[step, cell]]
    box = (1 - paired_iou(found[:, :4], own[:, 1:]) ** 2).sum()
    target = F.one_hot(own[:, 0].long(), raw.shape[-1] - 5) * answering.iou[step, cell][:, None]
    kind = F.binary_cross_entropy_with_logits(found[:, 5:], target, reduction="sum")
    answers = (answering.label >= 0).to(raw.dtype)
    objectness = F.binary_cross_entropy_with_logits(raw[..., 4], answers, reduction="sum")
    share = 1 / max(len(step), 1)
    parts = (BOX_WEIGHT * box * share, objectness * share, kind * share)
    return Losses(sum(parts, raw.new_zeros(())), *parts, len(step) / max(sum(map(len, labels)), 1))


def _padded(labels: Sequence[Tensor], like: Tensor) -> tuple[Tensor, Tensor]:
    """Labels of all steps, [steps, most, 5], and which of them there are, bool [steps, most]."""
    counts = torch.tensor([len(own) for own in labels], device=like.device)
    padded = torch.nn.utils.rnn.pad_sequence([own.to(like) for own in labels], batch_first=True)
    return padded, torch.arange(padded.shape[1], device=like.device) < counts[:, None]


@torch.no_grad()
def assign(raw: Tensor, labels: Tensor, there: Tensor, cells: Cells) -> Assignment:
    """SimOTA, of all steps at once. raw: [steps, cells, 5 + classes]; labels: [steps, n, 5]; there: bool [steps, n].

    The sum of a label's best IoUs says how many cells answer for it; these are the cheapest. The IoUs are over the
    cells in reach of any label of the step (experiments.md H). A cell that two labels want goes to the one for which it
    is cheaper.
    """
    steps, count = labels.shape[:2]
    best = min(BEST, raw.shape[1])
    if steps == 0 or count == 0:
        return Assignment(torch.full(raw.shape[:2], -1, device=raw.device), raw.new_zeros(raw.shape[:2]))
    away = (cells.centre - labels[:, :, None, 1:3]).abs().amax(dim=3)
    own_zone = (away < ZONE * cells.stride) & there[:, :, None]
    in_reach = own_zone.any(dim=1, keepdim=True)
    overlap = torch.where(in_reach, paired_iou(labels[:, :, None, 1:], raw[:, None, :, :4]), 0.0)
    cost = _class_cost(raw, labels) - IOU_COST * torch.log(overlap + 1e-8) + OUTSIDE_COST * ~own_zone
    cost = cost.masked_fill(~in_reach | ~there[:, :, None], torch.inf)
    wanted = overlap.topk(best, dim=2).values.sum(dim=2).int().clamp(min=1)
    cheapest = cost.topk(best, dim=2, largest=False)
    few = (torch.arange(best, device=raw.device) < wanted[:, :, None]) & cheapest.values.isfinite()
    chosen = torch.zeros_like(own_zone).scatter(2, cheapest.indices, few)
    twice = chosen.sum(dim=1, keepdim=True) > 1
    cheaper = F.one_hot(cost.argmin(dim=1), count).movedim(2, 1).bool()
    chosen = torch.where(twice, cheaper, chosen)
    which = chosen.int().argmax(dim=1)
    taken = chosen.any(dim=1)
    iou = overlap.gather(1, which[:, None])[:, 0]
    return Assignment(torch.where(taken, which, -1), torch.where(taken, iou, 0.0))


def _class_cost(raw: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of √(class · objectness) with each label's class, [steps, labels, cells]."""
    probability = (torch.sigmoid(raw[..., 5:]) * torch.sigmoid(raw[..., 4:5])).sqrt()
    no = -torch.log1p(-probability).clamp(min=-100)
    yes = -torch.log(probability).clamp(min=-100)
    of_label = labels[:, :, None, 0].long().expand(-1, -1, raw.shape[1])
    return no.sum(dim=2)[:, None] + (yes - no).movedim(2, 1).gather(1, of_label)


def paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of each box of a with that of b in the same row: [n, 4] each to [n]."""
    low = torch.maximum(a[..., :2] - a[..., 2:] / 2, b[..., :2] - b[..., 2:] / 2)
    high = torch.minimum(a[..., :2] + a[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2)
    both = (high - low).clamp(min=0).prod(dim=-1)
    union = a[..., 2:].prod(dim=-1) + b[..., 2:].prod(dim=-1) - both
    return both / (union + 1e-16)


# ---------------------------------------------------------------- boxes


def outputs(raw: Tensor) -> tuple[Tensor, Tensor]:
    """A detector's outputs from its head's: boxes [..., 4] and scores [..., classes], objectness times class."""
    return raw[..., :4], torch.sigmoid(raw[..., 4:5]) * torch.sigmoid(raw[..., 5:])


class Seen(NamedTuple):
    """What was found in a step of a recording at `t`, µs: SCORED_DTYPE."""

    recording: int
    t: int
    found: NDArray[Any]


class Labelled(Protocol):
    """A recording whose labels are known. boxes: fields t (µs), x, y of the upper left corner, w, h, label."""

    @property
    def boxes(self) -> NDArray[Any]: ...


def detect(
    model: DetectorModel, batches: Iterable[StepBatch], states: int, task: Detection, sensor: Sensor
) -> Iterator[Seen]:
    """Go through batches whose slots follow on one another; chunks without events make no step. states: how many slots
    there are."""
    state = model.start(states)
    with torch.no_grad():
        for batch in batches:
            raw, state = model(batch.inputs, batch.steps, state)
            boxes, scores = (part.float().cpu().numpy() for part in outputs(raw))
            for i in torch.nonzero(batch.made).flatten().tolist():
                t = int(batch.time[i])
                yield Seen(int(batch.recording[i]), t, scored(keep(boxes[i], scores[i], task, sensor).boxes, t))


def scored(boxes: NDArray[Any], t: int | NDArray[np.int64]) -> NDArray[Any]:
    """Boxes as SCORED_DTYPE: those of `spedge.model.boxes`, or labels, whose score is 0. t: their time, µs."""
    out = np.zeros(len(boxes), SCORED_DTYPE)
    out["t"] = t
    for name in ("x", "y", "w", "h", "label", "score"):
        out[name] = boxes[name] if name in (boxes.dtype.names or ()) else 0
    return out


def by_recording(seen: Iterable[Seen], recordings: Sequence[Labelled]) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Labels at their own times, which may fall between two steps, and what was found, of each recording."""
    found: list[list[NDArray[Any]]] = [[np.zeros(0, SCORED_DTYPE)] for _ in recordings]
    for step in seen:
        found[step.recording].append(step.found)
    labels = (scored(recording.boxes, recording.boxes["t"]) for recording in recordings)
    return [(own, np.concatenate(parts)) for own, parts in zip(labels, found, strict=True)]
