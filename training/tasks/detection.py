"""Detection: SimOTA's assignment of labels to cells and the losses (Ge et al. 2021; experiments.md D).

Boxes are centre x, centre y, width, height in pixels. Labels of a step: float32 [n, 5], class and box.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

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
    """What was found in a step, and its labels: SCORED_DTYPE, both at the step's time."""

    recording: int
    found: NDArray[Any]
    labels: NDArray[Any]


def detect(
    model: DetectorModel, batches: Iterable[StepBatch], states: int, task: Detection, sensor: Sensor
) -> Iterator[Seen]:
    """Go through batches whose slots follow on one another. states: how many slots there are."""
    state = model.start(states)
    with torch.no_grad():
        for batch in batches:
            raw, state = model(batch.inputs, batch.steps, state)
            boxes, scores = (part.float().cpu().numpy() for part in outputs(raw))
            for i, labels in enumerate(batch.labels_of()):
                t = int(batch.time[i])
                found = scored(keep(boxes[i], scores[i], task, sensor).boxes, t)
                yield Seen(int(batch.recording[i]), found, _of_labels(labels.cpu().numpy(), t))


def scored(boxes: NDArray[Any], t: int) -> NDArray[Any]:
    """BOX_DTYPE of `spedge.model.boxes` as SCORED_DTYPE."""
    out = np.zeros(len(boxes), SCORED_DTYPE)
    out["t"] = t
    for name in ("x", "y", "w", "h", "label", "score"):
        out[name] = boxes[name]
    return out


def _of_labels(labels: NDArray[np.float32], t: int) -> NDArray[Any]:
    out = np.zeros(len(labels), SCORED_DTYPE)
    out["t"], out["label"] = t, labels[:, 0]
    out["x"], out["y"] = labels[:, 1] - labels[:, 3] / 2, labels[:, 2] - labels[:, 4] / 2
    out["w"], out["h"] = labels[:, 3], labels[:, 4]
    return out


def by_recording(seen: Iterable[Seen], recordings: int) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Labels and what was found, of each recording."""
    labels: list[list[NDArray[Any]]] = [[] for _ in range(recordings)]
    found: list[list[NDArray[Any]]] = [[] for _ in range(recordings)]
    for step in seen:
        labels[step.recording].append(step.labels)
        found[step.recording].append(step.found)
    none = np.zeros(0, SCORED_DTYPE)
    return [(np.concatenate([none, *a]), np.concatenate([none, *b])) for a, b in zip(labels, found, strict=True)]
