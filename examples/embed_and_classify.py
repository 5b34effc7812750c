"""What a model sees of a token

A token's events become a log-time volume: how many of each polarity there were at each pixel, by their age. A linear
layer makes a row of numbers of it, its patch and its time are added, and a transformer looks at the last rows. Here the
bundle `gestures-pico`, which ships, is computed by ONNX Runtime, which is what devices are compared with.
"""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import spedge
from spedge.embedding import log_time_volume
from spedge.model.bundle import Bundle
from spedge.model.reference import Reference

bundle = Bundle.load("gestures-pico")
reference = Reference(bundle)
tokens, stats = reference.tokenize(spedge.open("wave").events())
seen = bundle.token_input
buckets = seen.embedding.buckets
volume = log_time_volume(tokens, seen.tokenizer.patch_size, buckets)

logits = reference.logits(tokens)
shares = np.exp(logits - logits.max())
shares /= shares.sum()
label = bundle.labels[int(logits.argmax())]
print(f"{len(tokens)} tokens, a volume of {volume[0].size} cells each, {(volume > 0).mean():.1%} of them not empty")
print(f"{label}: {shares.max():.1%}")

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
fullest = int(tokens.n.argmax())
image = volume[fullest].transpose(0, 2, 1, 3).reshape(2 * volume.shape[3], -1)  # off above on, the newest at the left
left.imshow(np.log1p(image), cmap="magma")
left.set_title(f"token {fullest}: off above on, by age")
left.set_xlabel(f"{buckets} pieces of time of {volume.shape[4]} columns each")
left.set_yticks([])
right.barh(bundle.labels, shares)
right.set_title(f"what the model says: {label}")
right.invert_yaxis()
figure.savefig("embed_and_classify.png", dpi=100)
