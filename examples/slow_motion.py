"""A GIF in slow motion

What `spedge render` does, from Python: events at the left, tokens over the patch grid at the right, and below what a
model says over time. Five times as slow as it was.
"""

from pathlib import Path

from spedge.base.paths import assets_dir
from spedge.view.open import open_scene
from spedge.view.render import Look, render

scene = open_scene(assets_dir() / "recordings" / "wave.raw", bundle=assets_dir() / "gestures-pico")
look = Look(from_us=200_000, to_us=600_000, speed=0.2, fps=12)
done = render(scene, Path("slow_motion.gif"), "wave", look)
print(f"{done.frames} frames of {done.width}x{done.height} pixels")
