"""Read a recording and draw it

A recording is opened by its path, whatever its format, or by the name of one that ships. Its events are one array with
the fields `t` (µs), `x`, `y` and `p` (1: brighter, 0: darker). The pictures are three slices of 30 ms, red for brighter
and blue for darker.
"""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import spedge

recording = spedge.open("wave")
events = recording.events()
print(f"{recording.path.name}: {recording.width}x{recording.height}, {len(events):,} events")

figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for axis, start_ms in zip(axes, (200, 500, 800), strict=True):
    since = events["t"] - events["t"][0]
    part = events[(since >= start_ms * 1000) & (since < (start_ms + 30) * 1000)]
    image = np.zeros((recording.height, recording.width))
    np.add.at(image, (part["y"], part["x"]), np.where(part["p"] == 1, 1, -1))
    axis.imshow(image, cmap="coolwarm", vmin=-2, vmax=2)
    axis.set_title(f"{start_ms} to {start_ms + 30} ms: {len(part):,} events")
    axis.set_axis_off()
figure.savefig("draw_a_recording.png", dpi=100)
