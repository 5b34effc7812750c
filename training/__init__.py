"""Training on tokens: data sets, models, presets; from recordings to a bundle.

Importing this needs numpy only. `train`, `import_run` and `export` need torch (pip install 'spedge[train]');
`evaluate` needs it for a checkpoint, not for a bundle; the `gestures` data set and its simulated camera never do.
"""

from .data import gestures, nmnist
from .evaluate import EvaluationReport, evaluate
from .export import export
from .importing import ImportReport, import_run
from .train import Progress, TrainReport, train

__all__ = [
    "EvaluationReport", "ImportReport", "Progress", "TrainReport", "evaluate", "export", "gestures", "import_run",
    "nmnist", "train",
]  # fmt: skip
