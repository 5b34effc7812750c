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
    """Of one step. label: int64 [cells], which label a cell answers for, -1 none. iou: float32 [cells], with it."""

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
    classes = raw.shape[-1] - 5
    found = [assign(step.detach(), given, cells) for step, given in zip(raw, labels, strict=True)]
    box = raw.new_zeros(())
    kind = raw.new_zeros(())
    positives = 0
    answers = raw.new_zeros(raw.shape[:2])
    for i, (step, given, assignment) in enumerate(zip(raw, labels, found, strict=True)):
        cell = torch.nonzero(assignment.label >= 0).squeeze(1)
        if len(cell) == 0:
            continue
        own = given[assignment.label[cell]]
        answers[i, cell] = 1.0
        positives += len(cell)
        box = box + (1 - paired_iou(step[cell, :4], own[:, 1:]) ** 2).sum()
        target = F.one_hot(own[:, 0].long(), classes) * assignment.iou[cell, None]
        kind = kind + F.binary_cross_entropy_with_logits(step[cell, 5:], target, reduction="sum")
    objectness = F.binary_cross_entropy_with_logits(raw[..., 4], answers, reduction="sum")
    share = 1 / max(positives, 1)
    parts = (BOX_WEIGHT * box * share, objectness * share, kind * share)
    return Losses(sum(parts, raw.new_zeros(())), *parts, positives / max(sum(map(len, labels)), 1))


@torch.no_grad()
def assign(raw: Tensor, labels: Tensor, cells: Cells) -> Assignment:
    """SimOTA, of one step. raw: [cells, 5 + classes]; labels: [n, 5].

    The sum of a label's best IoUs says how many cells answer for it; these are the cheapest. The IoUs are over the
    cells in reach of any label (experiments.md H). A cell that two labels want goes to the one for which it is cheaper.
    """
    label = torch.full((len(raw),), -1, dtype=torch.int64, device=raw.device)
    iou = raw.new_zeros(len(raw))
    if len(labels) == 0:
        return Assignment(label, iou)
    away = (cells.centre[None] - labels[:, None, 1:3]).abs().amax(dim=2)
    own_zone = away < ZONE * cells.stride
    in_reach = torch.nonzero(own_zone.any(dim=0)).squeeze(1)
    if len(in_reach) == 0:
        return Assignment(label, iou)
    near, own_zone = raw[in_reach], own_zone[:, in_reach]
    overlap = pairwise_iou(labels[:, 1:], near[:, :4])
    cost = _class_cost(near, labels) - IOU_COST * torch.log(overlap + 1e-8) + OUTSIDE_COST * ~own_zone
    chosen = torch.zeros_like(own_zone)
    wanted = overlap.topk(min(BEST, len(in_reach)), dim=1).values.sum(dim=1).int().clamp(min=1)
    for row, count in enumerate(wanted.tolist()):
        chosen[row, cost[row].topk(min(count, len(in_reach)), largest=False).indices] = True
    twice = chosen.sum(dim=0) > 1
    chosen[:, twice] = F.one_hot(cost[:, twice].argmin(dim=0), len(labels)).T.bool()
    taken = torch.nonzero(chosen.any(dim=0)).squeeze(1)
    which = chosen[:, taken].int().argmax(dim=0)
    label[in_reach[taken]] = which
    iou[in_reach[taken]] = overlap[which, taken]
    return Assignment(label, iou)


def _class_cost(near: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of √(class · objectness) with each label's class, [labels, cells]."""
    probability = (torch.sigmoid(near[:, 5:]) * torch.sigmoid(near[:, 4:5])).sqrt()
    target = F.one_hot(labels[:, 0].long(), near.shape[1] - 5).to(probability)
    shape = (len(labels), *probability.shape)
    return F.binary_cross_entropy(probability.expand(shape), target[:, None].expand(shape), reduction="none").sum(dim=2)


def paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of each box of a with that of b in the same row: [n, 4] each to [n]."""
    low = torch.maximum(a[..., :2] - a[..., 2:] / 2, b[..., :2] - b[..., 2:] / 2)
    high = torch.minimum(a[..., :2] + a[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2)
    both = (high - low).clamp(min=0).prod(dim=-1)
    union = a[..., 2:].prod(dim=-1) + b[..., 2:].prod(dim=-1) - both
    return both / (union + 1e-16)


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of each box of a with each of b: [n, 4] and [m, 4] to [n, m]."""
    return paired_iou(a[:, None], b[None])


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
