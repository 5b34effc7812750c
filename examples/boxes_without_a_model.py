"""Boxes from tokens alone

Two things move over a sensor of 160x120 pixels; their events are made here, so that it is known where they are. Patches
that have fired within the last 60 ms and touch each other are one thing, and a box goes around its events: no model, no
training. Detectors that learn are in the guide on detection.
"""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import spedge

WIDTH, HEIGHT, PATCH, KEPT_US = 160, 120, 8, 60_000


def moving(start: tuple[float, float], speed: tuple[float, float], size: int, seed: int) -> np.ndarray:
    """Events of the outline of a square that moves, in a second. start, size: pixels; speed: pixels a second."""
    random = np.random.default_rng(seed)
    events = np.zeros(9000, spedge.EVENT_DTYPE)
    events["t"] = np.sort(random.integers(0, 1_000_000, len(events)))
    along, side = random.integers(0, size, len(events)), random.integers(0, 4, len(events))
    x = np.choose(side, (along, along, 0, size - 1))
    y = np.choose(side, (0, size - 1, along, along))
    seconds = events["t"] / 1e6
    events["x"], events["y"] = start[0] + speed[0] * seconds + x, start[1] + speed[1] * seconds + y
    events["p"] = side % 2
    return events


def groups(patches: set[tuple[int, int]]) -> list[set[tuple[int, int]]]:
    """Patches that touch each other, at a corner too."""
    found = []
    while patches:
        group, edge = set(), {patches.pop()}
        while edge:
            group |= edge
            edge = {p for p in patches if any(max(abs(p[0] - q[0]), abs(p[1] - q[1])) <= 1 for q in edge)}
            patches -= edge
        found.append(group)
    return found


def boxes_at(tokens: spedge.Tokens, t: int) -> list[tuple[int, int, int, int]]:
    """Left, top, right, bottom of each thing at a time, by the newest token of each patch of the last KEPT_US."""
    recent = np.flatnonzero((tokens.t <= t) & (tokens.t + KEPT_US > t))
    newest = {(int(tokens.x[i]), int(tokens.y[i])): i for i in recent}
    found = []
    for group in groups(set(newest)):
        own = np.concatenate([tokens.events_of(newest[patch]) for patch in group])
        found.append((int(own["x"].min()), int(own["y"].min()), int(own["x"].max()) + 1, int(own["y"].max()) + 1))
    return sorted(found)


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """IoU of two boxes."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    both = max(w, 0) * max(h, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


things = [((8.0, 10.0), (60.0, 20.0), 24), ((120.0, 90.0), (-50.0, -10.0), 16)]
parts = np.concatenate([moving(*thing, seed) for seed, thing in enumerate(things)])
events = parts[np.argsort(parts["t"], kind="stable")]
tokens = spedge.Tokenizer(width=WIDTH, height=HEIGHT, patch_size=PATCH, threshold=12).push(events)

figure, axes = plt.subplots(1, 3, figsize=(9, 2.6), layout="constrained")
overlaps = []
for axis, t in zip(axes, (250_000, 500_000, 900_000), strict=True):
    part = events[(events["t"] <= t) & (events["t"] > t - 20_000)]
    axis.scatter(part["x"], part["y"], s=1, c="0.3")
    truths = [(x + vx * t / 1e6, y + vy * t / 1e6, size) for (x, y), (vx, vy), size in things]
    found = boxes_at(tokens, t)
    for left, top, right, bottom in found:
        axis.add_patch(plt.Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="tab:red"))
    best = [max((overlap((x, y, x + s, y + s), box) for box in found), default=0) for x, y, s in truths]
    overlaps += best
    axis.set_title(f"{t // 1000} ms: IoU " + ", ".join(f"{share:.2f}" for share in best), fontsize=9)
    axis.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0), aspect="equal", xticks=[], yticks=[])
print(f"{len(events):,} events, {len(tokens)} tokens, mean IoU {np.mean(overlaps):.2f}")
figure.savefig("boxes_without_a_model.png", dpi=100)
