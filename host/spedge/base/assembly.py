"""What the package's face puts together: its parts need not know of each other. Importing this loads nothing."""

from __future__ import annotations

TYPE_CHECKING = False  # typing's, for which typing would have to be loaded
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: The firmware of a board that runs on this machine, by the board's name, with the model of a bundle or none.
image_of: Callable[[str, object | None], Path] | None = None
