"""What can go wrong beside the model while it is fitted, as a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..progress import TrainingError

_LOADER_GONE = (
    "A process that loads samples was killed, perhaps for want of memory: begin again with fewer --workers, which goes "
    "on from the last checkpoint."
)


@contextmanager
def in_a_sentence(batch: int) -> Iterator[None]:
    """While the block runs, what the GPU and the processes that load samples say is said as others of our errors are.

    batch: samples of one batch.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise TrainingError(
            f"The GPU's memory is too small for batches of {batch}: give a smaller --batch, and as many times as "
            "--accumulate."
        ) from None
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingError(_LOADER_GONE) from None
    except (ConnectionError, EOFError, FileNotFoundError) as error:  # it was killed while it was being read from
        if getattr(error, "filename", None):
            raise
        raise TrainingError(_LOADER_GONE) from None
