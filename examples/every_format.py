"""One recording in every format that is written

A recording is converted to each format and read back: the events are the same to the last one, the sizes are not.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import spedge
from spedge.recordings import write

recording = spedge.open("swipe-left")
events = recording.events()
ways = {"EVT2": ("evt2.raw", "evt2"), "EVT3": ("evt3.raw", "evt3"), "DAT": ("a.dat", None), "CSV": ("a.csv", None)}
ways |= {"HDF5": ("a.hdf5", None), "NumPy": ("a.npz", None)}

sizes = {}
for name, (file, encoding) in ways.items():
    write(file, events, recording.width, recording.height, encoding)
    assert np.array_equal(spedge.open(file).events(), events)
    sizes[name] = Path(file).stat().st_size / len(events)
    print(f"{name}: {sizes[name]:.2f} bytes an event")

figure, axis = plt.subplots(figsize=(9, 2.6), layout="constrained")
bars = axis.barh(list(sizes), list(sizes.values()))
axis.bar_label(bars, fmt="%.1f")
axis.set_xlabel("bytes an event")
axis.invert_yaxis()
figure.savefig("every_format.png", dpi=100)
