"""From a detection set's files to the steps of a detector: as the authors' loaders give them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spedge.model.parts import Detector, TokenInput, Transformer
from spedge.model.spec import ModelSpec, describe
from spedge.training.data.registry import load_chunks
from spedge.training.data.windows import Piece, labelled_ranges, random_windows, streamed
from spedge.training.preprocess import preprocess
from spedge.training.presets import preset
from spedge.training.represent.samples import TokenArrays
from spedge.training.represent.steps import Step, Stepper
from tests.golden_models import Case, cases
from tests.needs import needs

needs("torch", "h5py")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The recording of the case, preprocessed."""
    (name,) = cases(4, array=r"random\.tokens$")
    case = Case(name)
    folder: Path = tmp_path_factory.mktemp("chain")
    (folder / "train").mkdir()
    for key in case.names("file:"):
        (folder / "train" / key.removeprefix("file:")).write_bytes(case[key].tobytes())
    preprocess("gen1", folder, folder / "store", chunk_ms=50)
    (only,) = load_chunks("gen1", folder / "store", 50).part("train")
    return case, only


def spec_of(which: str) -> ModelSpec:
    """The case's tokens, for a transformer, which is fed with their positions."""
    spec = preset({"patch16": "G1-T-SP", "patch8": "G1-GNN-SP"}[which]).spec()
    seen = replace(spec.token_input, embedding=replace(spec.token_input.embedding, hidden=6))
    encoder = Transformer(hidden=6, heads=1)
    return describe("chain", "chain", spec.sensor, spec.labels, seen, Detector(encoder, encoder.gives))


@pytest.mark.parametrize("which", ["patch16", "patch8"])
def test_steps_of_random_windows_are_the_authors(recording: Any, which: str) -> None:
    case, chunks = recording
    stepper = Stepper(spec_of(which))
    items = [
        stepper(chunks[piece.first : piece.last], stepper.tokenizer())
        for piece in random_windows([chunks.labelled.tolist()])
    ]
    check(case, f"{which}.random", items, spec_of(which).token_input)


@pytest.mark.parametrize("which", ["patch16", "patch8"])
def test_steps_of_streams_are_the_authors(recording: Any, which: str) -> None:
    case, chunks = recording
    stepper = Stepper(spec_of(which))
    items, tokenizer = [], stepper.tokenizer()
    pieces: list[Piece] = list(streamed([(0, labelled_ranges(chunks.labelled.tolist()))], 1))
    for piece in pieces:
        tokenizer = stepper.tokenizer() if piece.reset else tokenizer
        items.append(stepper(chunks[piece.first : piece.last], tokenizer))
    check(case, f"{which}.streaming", items, spec_of(which).token_input)


def check(case: Case, key: str, items: list[list[Step]], seen: TokenInput) -> None:
    tokens, labels = [], []
    for item, steps in enumerate(items):
        for number, step in enumerate(steps):
            tokens += [[item, number, step.time, *row] for row in rows_of(step, seen)]
            labels += [[item, number, *label] for label in step.labels.tolist()]
    np.testing.assert_array_equal(np.array(tokens), case[f"{key}.tokens"])
    wanted = case[f"{key}.labels"]
    np.testing.assert_allclose(ordered(np.array(labels)), ordered(wanted), atol=1e-4)


def rows_of(step: Step, seen: TokenInput) -> list[list[int]]:
    """Column, row, age and events of each token."""
    arrays = step.arrays
    assert isinstance(arrays, TokenArrays)
    if not arrays.points:
        return []
    sums = np.add.reduceat(np.expm1(arrays.cells.log_count), arrays.cells.bounds[:-1])
    ages = np.rint(arrays.positions[:, 2] * seen.embedding.time_scale_us)
    rows: list[list[int]] = np.column_stack([arrays.positions[:, :2], ages, np.rint(sums)]).astype(np.int64).tolist()
    return rows


def ordered(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels of one time have no order that counts."""
    return labels[np.lexsort(labels.T[::-1])]
