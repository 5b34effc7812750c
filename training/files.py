"""What torch saves, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spedge.base.files import whole


def save(content: Any, path: Path) -> None:
    """Write what `torch.load` reads; an interrupted write leaves the file that was there.

    Raises UsageError where no file can be written or the disk is full, which torch calls an unexpected position.
    """
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        try:
            with part.open("wb") as file:
                torch.save(content, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise
