"""Turn events into tokens

A patch of 16x16 pixels fires a token when it has collected `threshold` events. Where something moves there are tokens,
often; where nothing does there are none. Every event is accounted for: it is in a token, or still waits in its patch,
or was lost to a cause that has a name.
"""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import spedge

recording = spedge.open("clap")
thresholds = (64.0, 192.0)

figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
for axis, threshold in zip(axes, thresholds, strict=True):
    tokenizer = spedge.Tokenizer(width=recording.width, height=recording.height, patch_size=16, threshold=threshold)
    tokens = tokenizer.push(recording.events())
    stats = tokenizer.stats
    lost = stats.refractory + stats.decayed + stats.pool_lost + stats.outside + stats.backwards
    assert stats.taken == stats.in_tokens + stats.pending + lost
    print(f"threshold {threshold:g}: {len(tokens)} tokens, {stats.in_tokens:,} events in them, {stats.pending:,} wait")
    counts = np.zeros((recording.height // 16, recording.width // 16), int)
    np.add.at(counts, (tokens.y, tokens.x), 1)
    axis.imshow(counts, cmap="viridis")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            axis.text(column, row, count, ha="center", va="center", color="white", fontsize=8)
    axis.set_title(f"threshold {threshold:g}: {len(tokens)} tokens, by patch")
    axis.set_xticks([])
    axis.set_yticks([])
figure.savefig("make_tokens.png", dpi=100)
