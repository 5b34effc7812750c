"""A bundle is read only when it is whole and says what can be."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spedge.base.errors import InputError
from spedge.base.paths import assets_dir
from spedge.model.bundle import FILES, Bundle, write_bundle
from spedge.model.parts import Embedding, Sensor, TokenInput, Transformer
from spedge.model.spec import Metric, describe
from spedge.tokens.settings import TokenizerSettings

SPEC = replace(
    describe(
        "tiny",
        "none",
        Sensor(10, 6),
        ("left", "right"),
        TokenInput(TokenizerSettings(patch_size=4, threshold=3.0), Embedding(2, 8, 1000.0), 5),
        Transformer(8, 16, 2, 1),
    ),
    metric=Metric("top1", 0.9, "test", 10),
)


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def contents() -> dict[str, bytes]:
    events = np.zeros(3, [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])
    tokens = np.zeros(1, [("x", "<u2"), ("y", "<u2"), ("t", "<u8"), ("n", "<u4")])
    return {
        "encoder.onnx": b"encoder",
        "model.onnx": b"model",
        "embedding.npz": npz(weight=np.ones((8, 64), np.float32), bias=np.zeros(8, np.float32)),
        "vectors.npz": npz(
            events_0=events, tokens_0=tokens, embedded_0=np.zeros((1, 8), np.float32), logits_0=np.zeros(2, np.float32)
        ),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle", SPEC, contents())
    return tmp_path / "bundle"


def rewrite(folder: Path, change: object, sealed: bool = True) -> None:
    """Change bundle.json; with a hash that fits when sealed."""
    from spedge.model.bundle import _document_hash

    document = json.loads((folder / "bundle.json").read_text())
    change(document)  # type: ignore[operator]
    if sealed:
        document["hash"] = _document_hash(document)
    (folder / "bundle.json").write_text(json.dumps(document))


def test_what_is_written_is_read(folder: Path) -> None:
    bundle = Bundle.load(folder)
    assert bundle.plain() == SPEC
    seen = bundle.token_input
    assert (seen.tokenizer.columns, seen.tokenizer.rows, seen.cells, bundle.tokens) == (3, 2, 64, 5)
    weight, bias = bundle.embedding_arrays()
    assert weight.shape == (8, 64)
    assert bias.shape == (8,)
    assert len(bundle.vectors()) == 1
    assert bundle.hash_bytes.hex() == bundle.hash


def test_the_hash_covers_the_description_and_every_file(tmp_path: Path, folder: Path) -> None:
    same = write_bundle(tmp_path / "same", SPEC, contents())
    assert same.hash == Bundle.load(folder).hash
    hashes = {same.hash, write_bundle(tmp_path / "renamed", replace(SPEC, name="other"), contents()).hash}
    for name in ("encoder.onnx", "model.onnx"):
        hashes.add(write_bundle(tmp_path / name, SPEC, {**contents(), name: b"other"}).hash)
    assert len(hashes) == 4


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        Bundle.load(folder)


@pytest.mark.parametrize("name", FILES)
def test_one_changed_bit_is_found(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name} is damaged"):
        Bundle.load(folder)


def test_a_description_changed_by_hand_is_found(folder: Path) -> None:
    rewrite(folder, lambda d: d["representation"]["tokenizer"].update(threshold=4.0), sealed=False)
    with pytest.raises(InputError, match="was changed"):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda d: d["representation"].pop("window"), "window is missing"),
        (lambda d: d["representation"].update(window=0), "window has 0 tokens"),
        (lambda d: d["representation"].update(window=True), "window is True"),
        (lambda d: d["representation"].update(window=None), "names .* the tokens of its window"),
        (lambda d: d["task"].update(labels=[]), "labels"),
        (lambda d: d["task"].update(labels=["a", "a"]), "labels"),
        (lambda d: d["task"].update(labels="ab"), "labels"),
        (lambda d: d["sensor"].update(width=-1), "sensor"),
        (lambda d: d["sensor"].update(width="34"), "sensor.width"),
        (lambda d: d["representation"]["tokenizer"].update(kind="frame"), "tokenizer kind"),
        (lambda d: d["representation"]["tokenizer"].update(threshold=0), "threshold=0.0 is out of range"),
        (lambda d: d["representation"]["tokenizer"].pop("patch_size"), "patch_size"),
        (lambda d: d["representation"]["embedding"].update(buckets=33), "embedding.buckets"),
        (lambda d: d["model"].update(heads=3), "heads"),
        (lambda d: d["model"].update(hidden=16), "takes 16 features"),
        (lambda d: d.update(files=[]), "files"),
        (lambda d: d.update(metric=0.5), "metric"),
    ],
)
def test_a_wrong_value_is_named(folder: Path, change: object, word: str) -> None:
    rewrite(folder, change)
    with pytest.raises(InputError, match=word):
        Bundle.load(folder)


def test_another_schema_is_refused(folder: Path) -> None:
    rewrite(folder, lambda d: d.update(schema=3))
    with pytest.raises(InputError, match="schema 3"):
        Bundle.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff\xfe"])
def test_bytes_that_are_no_description(folder: Path, text: str) -> None:
    (folder / "bundle.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"bundle\.json"):
        Bundle.load(folder)


def test_a_wrong_shape_of_the_embedding_is_named(tmp_path: Path) -> None:
    wrong = {**contents(), "embedding.npz": npz(weight=np.ones((8, 63), np.float32), bias=np.zeros(8, np.float32))}
    with pytest.raises(InputError, match="'weight'"):
        write_bundle(tmp_path / "wrong", SPEC, wrong)


def test_no_directory_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="spedge export"):
        Bundle.load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no bundle\.json"):
        Bundle.load(tmp_path)


@pytest.mark.parametrize("name", ["gestures-pico", "nmnist-pico"])
def test_our_own_bundles_are_whole(name: str) -> None:
    bundle = Bundle.load(assets_dir() / name)
    assert bundle.metric is not None
    assert bundle.metric.name == "top1"
    assert bundle.metric.value >= 0.94
    for vector in bundle.vectors():
        assert len(vector.embedded) == min(len(vector.tokens), bundle.tokens)
        assert int(vector.tokens["n"].sum()) <= len(vector.events)
