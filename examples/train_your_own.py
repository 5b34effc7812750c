"""A model of your own on spedge's data sets

`spedge.training.data.open` gives any data set to torch's DataLoader, as events or, with `TokenVolumes`, as tokens. The
data are made here: dots that move to the left or to the right, in a folder for each class. The model is a convolution
over each token's volume, whose answers are averaged over the tokens of a sample: none of spedge's own models.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.utils.data import DataLoader

import spedge
from spedge.recordings import write
from spedge.training import data
from spedge.training.preprocess import preprocess

SIDE = 64
random = np.random.default_rng(0)


def dots(direction: int) -> np.ndarray:
    """Events of twenty dots that move a pixel each 10 ms, for 300 ms."""
    events = np.zeros(4000, spedge.EVENT_DTYPE)
    events["t"] = np.sort(random.integers(0, 300_000, len(events)))
    dot, sides = random.integers(0, 20, len(events)), random.integers(0, 2, len(events))
    places = random.integers(0, SIDE, (20, 2))
    moved = direction * (events["t"].astype(int) // 10_000)
    events["x"] = (places[dot, 0] + moved + 4 * sides) % SIDE
    events["y"] = places[dot, 1]
    events["p"] = sides if direction > 0 else 1 - sides  # a bright dot: brighter in front, darker behind
    return events


for part, count in (("train", 12), ("test", 6)):
    for label, direction in (("left", -1), ("right", 1)):
        folder = Path("raw") / part / label
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            write(folder / f"{number}.raw", dots(direction), SIDE, SIDE)
preprocess("folder", Path("raw"), Path("store"))

settings = spedge.TokenizerSettings(width=SIDE, height=SIDE, patch_size=16, threshold=64)
as_tokens = data.TokenVolumes(settings, buckets=6)
torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Conv2d(2 * 6, 8, 5),
    torch.nn.ReLU(),
    torch.nn.AdaptiveAvgPool2d(1),
    torch.nn.Flatten(),
    torch.nn.Linear(8, 2),
)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)


def answers(samples: list) -> torch.Tensor:
    """Logits of samples: the mean over each one's tokens. [n, 2]"""
    return torch.stack([model(volumes.flatten(1, 2)).mean(0) for _, volumes in samples])


losses = []
for _ in range(8):
    loader = DataLoader(data.open("folder", "store", transform=as_tokens), batch_size=6, shuffle=True, collate_fn=list)
    for batch in loader:
        samples, labels = zip(*batch, strict=True)
        loss = torch.nn.functional.cross_entropy(answers(samples), torch.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

samples, labels = zip(*data.open("folder", "store", split="test", transform=as_tokens), strict=True)
right = int((answers(samples).argmax(1) == torch.tensor(labels)).sum())
print(f"loss {losses[0]:.3f} to {losses[-1]:.3f}; {right} of {len(labels)} recordings right that it had not seen")

figure, axis = plt.subplots(figsize=(9, 2.6), layout="constrained")
axis.plot(losses)
axis.set_xlabel("step")
axis.set_ylabel("loss")
axis.set_title(f"{right} of {len(labels)} test recordings right")
figure.savefig("train_your_own.png", dpi=100)
