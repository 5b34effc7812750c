"""Data sets in torch's DataLoader, with workers and without; the documented example is run as it stands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spedge
from spedge.base.errors import InputError, UsageError
from spedge.training import data
from spedge.training.data.boxes import BOX_DTYPE
from spedge.training.data.registry import load_chunks
from spedge.training.preprocess import preprocess
from tests.detection_sets import write_driving
from tests.needs import needs
from tests.python.test_preprocess import own
from tests.python.test_preprocess_boxes import boxes_at, some

needs("torch", "h5py")

NAMES = ["train/cat/1.raw", "train/cat/2.raw", "train/dog/1.raw", "validation/dog/2.raw", "test/cat/3.raw"]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`own` of two classes, and `gen1` of two recordings with chunks that hold no events."""
    root = tmp_path_factory.mktemp("stores")
    own(root / "raw", NAMES)
    preprocess("folder", root / "raw", root / "own")
    for seed in range(2):
        write_driving(
            root / f"gen1-raw/train/{seed}_td.dat", some(seed, 300_000, (304, 240), (2,)), boxes_at(99_999, 149_999)
        )
    preprocess("gen1", root / "gen1-raw", root / "gen1")
    return root


def loaded(dataset: Any, workers: int) -> list[Any]:
    from torch.utils.data import DataLoader

    return [pair for batch in DataLoader(dataset, batch_size=2, collate_fn=list, num_workers=workers) for pair in batch]


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_are_events_and_labels(stores: Path, workers: int) -> None:
    from torch.utils.data import Dataset

    dataset = data.open("folder", stores / "own")
    assert isinstance(dataset, Dataset)
    assert isinstance(dataset, data.LabelledEvents)
    assert (len(dataset), dataset.about.labels, dataset.about.sensor.width) == (3, ("cat", "dog"), 40)
    pairs = loaded(dataset, workers)
    assert [label for _, label in pairs] == [0, 0, 1]
    for i, name in enumerate(NAMES[:3]):
        events = spedge.open(stores / "raw" / name).events()
        events["t"] -= events["t"][0]
        np.testing.assert_array_equal(pairs[i][0], events)
    assert [len(data.open("folder", stores / "own", split=split)) for split in ("validation", "test")] == [1, 1]
    with pytest.raises(IndexError):
        dataset[3]


@pytest.mark.parametrize("workers", [0, 2])
def test_chunks_are_events_and_boxes(stores: Path, workers: int) -> None:
    dataset = data.open("gen1", stores / "gen1", chunk_ms=50)
    assert isinstance(dataset, data.ChunksWithBoxes)
    pairs = loaded(dataset, workers)
    assert len(pairs) == len(dataset) == 12
    for i, (events, boxes) in enumerate(pairs):
        recording, place = divmod(i, 6)
        whole = some(recording, 300_000, (304, 240), (2,))
        own = whole[whole["t"] // 50_000 == place]
        assert events["t"].tolist() == (own["t"] - 50_000 * place).tolist()
        assert events["x"].tolist() == own["x"].tolist()
        assert boxes.dtype == BOX_DTYPE
        assert boxes["t"].tolist() == ([49_999] if place in (1, 2) else [])
    (recording, _) = load_chunks("gen1", stores / "gen1").part("train")
    assert recording[1].boxes["t"].tolist() == [99_999]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_transform_gives_tokens_and_volumes(stores: Path, workers: int) -> None:
    settings = spedge.TokenizerSettings(width=40, height=30, patch_size=10, threshold=3)
    dataset = data.open("folder", stores / "own", transform=data.TokenVolumes(settings, buckets=4))
    for i, ((tokens, volumes), label) in enumerate(loaded(dataset, workers)):
        events = data.open("folder", stores / "own")[i][0]
        expected = spedge.Tokenizer(width=40, height=30, patch_size=10, threshold=3).push(events)
        assert label == (0, 0, 1)[i]
        assert tokens.shape == (len(expected), 3)
        assert tokens[:, 2].tolist() == expected.t.tolist()
        assert tokens[:, 0].tolist() == expected.x.tolist()
        counts = spedge.embedding.log_time_volume(expected, 10, 4)
        assert volumes.shape == (len(expected), 2, 4, 10, 10)
        np.testing.assert_allclose(volumes.numpy(), np.log1p(counts), atol=1e-6)
    with pytest.raises(UsageError, match="threshold"):
        data.TokenVolumes(spedge.TokenizerSettings(width=40, height=30, threshold=0))


def test_our_own_data_sets_are_opened_alike(tmp_path: Path) -> None:
    file = tmp_path / "N-MNIST" / "Train" / "7" / "1.bin"
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes([1, 2, 0x80, 0, 7]))
    events, label = data.open("nmnist", tmp_path)[0]
    assert (events.tolist(), label) == ([(7, 1, 2, 1)], 7)
    assert len(data.open("nmnist", tmp_path, split="test")) == 0


def test_what_is_wrong_is_a_sentence(stores: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no split 'val'\. Choose one of: train, validation, test"):
        data.open("folder", stores / "own", split="val")
    with pytest.raises(UsageError, match="no data set 'cifar'"):
        data.open("cifar", stores)
    with pytest.raises(UsageError, match="is no preprocessed data set"):
        data.open("gen1", tmp_path)
    shutil.copytree(stores / "own", tmp_path / "own")
    file = next((tmp_path / "own" / "train").rglob("1.raw.h5"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    for workers in (0, 2):
        with pytest.raises(InputError, match=r"1\.raw\.h5 is damaged .*spedge preprocess folder --data"):
            loaded(data.open("folder", tmp_path / "own"), workers)


def test_without_torch_the_extra_is_named() -> None:
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from spedge.training import data\n"
        "try:\n    data.open('gestures')\nexcept data.opened.UsageError as error:\n    print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "Data sets for a DataLoader need torch: pip install 'spedge[train]'.\n"


def test_the_documented_boxes_are_read(
    stores: Path, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (repository / "docs/training.md").read_text()
    (example,) = re.findall(r"```python\n(from spedge.training.data.registry.*?)```", text, re.S)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").symlink_to(stores / "gen1")
    names: dict[str, Any] = {}
    exec(example, names)
    assert names["chunk"].boxes["t"].tolist() == [149_999] and list(names["recording"].labelled) == [1, 2]


def test_the_documented_example_runs(stores: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With our store in the place of DvsGesture's."""
    text = (repository / "docs/training.md").read_text()
    (example,) = re.findall(r"```python\n(from torch.*?)```", text, re.S)
    monkeypatch.chdir(stores)
    (stores / "store").symlink_to(stores / "own")
    names: dict[str, Any] = {}
    exec(example.replace('"dvsgesture"', '"folder"'), names)
    assert names["labels"] == (0, 0, 1)
    assert len(names["volumes"]) == 3
