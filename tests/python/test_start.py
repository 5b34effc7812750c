"""The start from ViT-MAE's weights: what is taken over, by either naming; how a file is had; what a run says of it."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spedge.base.errors import InputError, UsageError
from spedge.base.paths import cache_dir
from spedge.cli import execute
from spedge.model.parts import TokenInput, Transformer
from spedge.model.spec import ModelSpec
from spedge.training.presets import PRESETS, SIZES
from tests.needs import needs

needs("torch", "safetensors", "lightning")

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from spedge.training import train  # noqa: E402
from spedge.training.checkpoint import load_checkpoint  # noqa: E402
from spedge.training.models.registry import make_model  # noqa: E402
from spedge.training.weights import hub, vitmae  # noqa: E402
from tests.python.test_training import digits  # noqa: E402, F401

NAMINGS = {
    "before 5": (
        "vit.encoder.layer.{}.", "attention.attention.query", "attention.attention.key", "attention.attention.value",
        "attention.output.dense", "intermediate.dense", "output.dense",
    ),
    "since 5": (
        "vit.layers.{}.", "attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj", "mlp.fc1",
        "mlp.fc2",
    ),
}  # fmt: skip
SMALL = (12, 20, 3, 2)  # hidden, intermediate, heads, layers


def spec_of(size: tuple[int, int, int, int], preset: str = "DG-T-SP") -> ModelSpec:
    chosen = PRESETS[preset]
    seen = chosen.representation
    assert isinstance(seen, TokenInput)
    seen = replace(seen, embedding=replace(seen.embedding, hidden=size[0]))
    spec: ModelSpec = replace(chosen, model=Transformer(*size), representation=seen).spec()
    return spec


def made(naming: str, size: tuple[int, int, int, int], patch: int = 16, seed: int = 0) -> dict[str, torch.Tensor]:
    """As `ViTMAEForPreTraining` has them, with its decoder."""
    hidden, inner, _, layers = size
    torch.manual_seed(seed)
    place, *parts = NAMINGS[naming]
    sizes = [(hidden, hidden)] * 4 + [(inner, hidden), (hidden, inner)]
    tensors = {
        "vit.embeddings.cls_token": torch.randn(1, 1, hidden),
        "vit.embeddings.position_embeddings": torch.randn(1, 197, hidden),
        "vit.embeddings.patch_embeddings.projection.weight": torch.randn(hidden, 3, patch, patch),
        "vit.embeddings.patch_embeddings.projection.bias": torch.randn(hidden),
        "vit.layernorm.weight": torch.randn(hidden),
        "vit.layernorm.bias": torch.randn(hidden),
        "decoder.decoder_embed.weight": torch.randn(7, hidden),
        "decoder.decoder_layers.0." + parts[0] + ".weight": torch.randn(7, 7),
        "decoder.decoder_norm.weight": torch.randn(7),
    }
    for layer in range(layers):
        for part, (rows, columns) in zip(parts, sizes, strict=True):
            tensors[f"{place.format(layer)}{part}.weight"] = torch.randn(rows, columns)
            tensors[f"{place.format(layer)}{part}.bias"] = torch.randn(rows)
        for norm in ("layernorm_before", "layernorm_after"):
            tensors[f"{place.format(layer)}{norm}.weight"] = torch.randn(hidden)
            tensors[f"{place.format(layer)}{norm}.bias"] = torch.randn(hidden)
    return tensors


# ---------------------------------------------------------------- what is taken over


def encoded(x: torch.Tensor, tensors: dict[str, torch.Tensor], naming: str, size: tuple[int, ...]) -> torch.Tensor:
    """ViT's encoder and last LayerNorm by their definition: x [1, rows, hidden]."""
    hidden, _, heads, layers = size
    place, query, key, value, out, up, down = NAMINGS[naming]

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return torch.layer_norm(x, (hidden,), tensors[f"{name}.weight"], tensors[f"{name}.bias"], 1e-12)

    for layer in range(layers):
        at = place.format(layer)
        seen = norm(x, at + "layernorm_before")
        split = [
            linear(seen, at + part).view(1, -1, heads, hidden // heads).transpose(1, 2) for part in (query, key, value)
        ]
        mixed = torch.softmax(split[0] @ split[1].transpose(2, 3) / (hidden // heads) ** 0.5, -1) @ split[2]
        x = x + linear(mixed.transpose(1, 2).reshape(1, -1, hidden), at + out)
        seen = norm(x, at + "layernorm_after")
        x = x + linear(torch.nn.functional.gelu(linear(seen, at + up)), at + down)
    return norm(x, "vit.layernorm")


@pytest.mark.parametrize("naming", NAMINGS)
def test_the_encoder_computes_what_vit_does(naming: str) -> None:
    spec, tensors = spec_of(SMALL), made(naming, SMALL)
    model = make_model(spec).eval()
    weights = vitmae.weights_of(tensors, spec, "it")
    vitmae.Start(weights, "").put_into(model)
    tokens = torch.randn(1, 5, SMALL[0])
    expected = encoded(torch.cat([tensors["vit.embeddings.cls_token"], tokens], 1), tensors, naming, SMALL)
    with torch.no_grad():
        logits = model.encoder(tokens, torch.tensor([5]))
        torch.testing.assert_close(logits, model.encoder.head(expected[:, 0]), rtol=1e-5, atol=1e-5)
    assert not any("position" in name for name in weights)


@pytest.mark.parametrize("naming", NAMINGS)
def test_the_embedding_is_the_kernel_averaged_over_colours(naming: str) -> None:
    """Undivided: a token of one event in a cell is seen as a grey patch with that pixel would be."""
    spec, tensors = spec_of(SMALL), made(naming, SMALL)
    model = make_model(spec)
    vitmae.Start(vitmae.weights_of(tensors, spec, "it"), "").put_into(model)
    kernel = tensors["vit.embeddings.patch_embeddings.projection.weight"]
    bias = tensors["vit.embeddings.patch_embeddings.projection.bias"]
    volumes = torch.zeros(2 * 10, 2, 10, 16, 16)
    for channel, (y, x) in enumerate(np.random.default_rng(0).integers(0, 16, (20, 2)).tolist()):
        volumes[channel, channel // 10, channel % 10, y, x] = np.e - 1  # log(1 + count) is 1
        with torch.no_grad():
            embedded = model.embedding.linear(volumes[channel])
        torch.testing.assert_close(embedded, kernel[:, :, y, x].mean(1) + bias)


@pytest.mark.parametrize("naming", NAMINGS)
def test_the_base_is_taken_over_whole(naming: str) -> None:
    """At full size, without its numbers: all of the model's state but the classifier."""
    with torch.device("meta"):
        tensors = made(naming, SIZES["base"])
        own = make_model(PRESETS["SL-T-F"].spec()).state_dict()
    weights = vitmae.weights_of(tensors, PRESETS["SL-T-F"].spec(), "it")
    assert own.keys() - weights.keys() == {"encoder.head.weight", "encoder.head.bias"}
    assert all(weights[name].shape == own[name].shape for name in weights)


def test_other_patches_keep_a_random_embedding() -> None:
    size = SIZES["pico"]
    spec = PRESETS["nmnist-pico"].spec()  # patches of 4 pixels
    weights = vitmae.weights_of(made("since 5", size), spec, "it")
    assert not any(name.startswith("embedding") for name in weights)
    assert len([name for name in weights if "layers" in name]) == 12 * size[3]


def test_the_classifier_begins_as_torch_does() -> None:
    """Uniform within 1/sqrt(hidden), its bias too; from the seed that was set."""
    spec = spec_of((64, 64, 4, 1), "SL-T-SP")
    start = vitmae.Start(vitmae.weights_of(made("since 5", (64, 64, 4, 1)), spec, "it"), "")
    heads = []
    for _ in range(2):
        torch.manual_seed(3)
        model = make_model(spec)
        start.put_into(model)
        heads.append(model.encoder.head)
    assert torch.equal(heads[0].weight, heads[1].weight)
    bound = 64**-0.5
    assert 0.9 * bound < heads[0].weight.abs().max().item() <= bound
    assert heads[0].weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
    assert 0 < heads[0].bias.abs().max().item() <= bound


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"vit.layers.1.mlp.fc2.bias": None}, r"it lacks what becomes encoder\.layers\.1\.mlp_out\.bias: it is no"),
        ({"vit.layers.0.attention.k_proj.weight": None}, r"lacks what becomes encoder\.layers\.0\.query_key_value\.w"),
        ({"vit.layernorm.weight": torch.ones(5)}, r"encoder\.norm\.weight of shape \(5,\), and not \(12,\)"),
        ({"vit.layers.2.mlp.fc1.bias": torch.ones(20)}, r"has encoder\.layers\.2\.mlp_in\.bias, which the model has"),
        (
            {"vit.embeddings.patch_embeddings.projection.weight": torch.ones(12, 3, 14, 14)},
            r"embedding\.linear\.weight of shape \(12, 3920\), and not \(12, 5120\)",
        ),
    ],
)  # fmt: skip
def test_weights_of_another_model_are_refused(change: dict[str, Any], sentence: str) -> None:
    tensors = {name: value for name, value in {**made("since 5", SMALL), **change}.items() if value is not None}
    with pytest.raises(InputError, match=sentence):
        vitmae.weights_of(tensors, spec_of(SMALL), "it")


@pytest.mark.parametrize(
    ("preset", "more", "sentence"),
    [
        ("DG-T-SP", ["--size", "nano"], "The weights of ViT-MAE are for transformers of size base: leave out --start"),
        ("nmnist-pico", [], "The weights of ViT-MAE are for transformers of size base: leave out --start, or --size."),
        ("DG-GNN-E", [], "'DG-GNN-E' is a gnn, which has no weights to start from: leave out --start."),
    ],
)
def test_other_models_are_refused(
    preset: str, more: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["train", preset, "--run", str(tmp_path / "run"), "--start", "facebook/vit-mae-base", *more]
    assert execute(given) == 2
    assert sentence in capsys.readouterr().err


# ---------------------------------------------------------------- a run


def test_a_run_begins_so_and_says_it(
    digits: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the size of our smallest in the place of the base. It goes on without the file."""
    monkeypatch.setattr(vitmae, "BASE", SIZES["pico"])
    tensors = made("before 5", SIZES["pico"])
    file = tmp_path / "weights" / "model.safetensors"
    file.parent.mkdir()
    save_file(tensors, file)
    recipe = {"steps": 2, "batch": 8, "learning_rate": 1e-12}
    given: dict[str, Any] = {"recipe": recipe, "bundle": False, "start": str(file.parent)}
    train("nmnist-pico", digits, tmp_path / "run", **given)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    document = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (document["start"], document["start_sha256"]) == (str(file.parent), digest)
    kept = load_checkpoint(tmp_path / "run")
    assert (kept.spec.training["start"], kept.spec.training["start_sha256"]) == (str(file.parent), digest)
    expected = vitmae.weights_of(tensors, kept.spec, "it")
    for name, value in expected.items():
        torch.testing.assert_close(kept.weights[name], value, rtol=0, atol=1e-6)
    file.unlink()
    assert train("nmnist-pico", digits, tmp_path / "run", **given)
    with pytest.raises(InputError, match=r"has no model\.safetensors or pytorch_model\.bin: give --start the file"):
        train("nmnist-pico", digits, tmp_path / "other", **given)
    with pytest.raises(UsageError, match="holds a run with another start"):
        train("nmnist-pico", digits, tmp_path / "run", **{**given, "start": None})


# ---------------------------------------------------------------- the hub


class Hub:
    """A double of the hub on the loopback. files: by path; what was asked for is in `asked`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.cut = self.wrong = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(request.path)
        path = request.path.removeprefix("/store")
        if path not in self.files:
            request.send_error(404)
            return
        content = self.files[path]
        if path == request.path:  # large files lie elsewhere; the first answer says their digest
            digest = hashlib.sha256(b"other" if self.wrong else content).hexdigest()
            request.send_response(302)
            request.send_header("X-Linked-Etag", f'"{digest}"')
            request.send_header("Location", f"{self.url}/store{path}")
            request.end_headers()
            return
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content[: len(content) // 2] if self.cut else content)


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("SPEDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Hub()
    monkeypatch.setenv("HF_ENDPOINT", made.url + "/")
    yield made
    made.server.shutdown()
    made.server.server_close()


def packed(tensors: dict[str, torch.Tensor], path: Path) -> bytes:
    """As the hub's own repository has it."""
    torch.save(tensors, path)
    return path.read_bytes()


def test_a_repositorys_weights_are_downloaded_once(
    double: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vitmae, "BASE", SMALL)
    tensors = made("before 5", SMALL)
    double.files["/some/vit/resolve/main/pytorch_model.bin"] = packed(tensors, tmp_path / "packed")
    for _ in range(2):
        start = vitmae.load_start("some/vit", spec_of(SMALL))
        assert torch.equal(start.weights["encoder.norm.bias"], tensors["vit.layernorm.bias"])
        assert start.sha256 == hashlib.sha256((tmp_path / "packed").read_bytes()).hexdigest()
    main = "/some/vit/resolve/main"
    asked = [f"{main}/model.safetensors", f"{main}/pytorch_model.bin", f"/store{main}/pytorch_model.bin"]
    assert double.asked == asked
    save_file(tensors, tmp_path / "second.safetensors")
    double.files["/some/vit/resolve/v2/model.safetensors"] = (tmp_path / "second.safetensors").read_bytes()
    assert vitmae.load_start("some/vit@v2", spec_of(SMALL)).sha256 != start.sha256


@pytest.mark.parametrize(("fault", "sentence"), [("cut", "only {} of {} bytes came"), ("wrong", "another digest")])
def test_what_did_not_come_whole_is_not_used(double: Hub, fault: str, sentence: str) -> None:
    content = bytes(range(256)) * 5000
    double.files["/some/vit/resolve/main/model.safetensors"] = content
    setattr(double, fault, True)
    with pytest.raises(InputError) as caught:
        hub.fetch("some/vit")
    assert sentence.format(len(content) // 2, len(content)) in str(caught.value)
    assert "some/vit cannot be had from http://127.0.0.1:" in str(caught.value)
    assert not [path for path in cache_dir().rglob("*") if path.is_file()]
    setattr(double, fault, False)
    assert hub.fetch("some/vit").read_bytes() == content


def test_where_there_is_no_hub_a_file_is_asked_for(
    double: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"has no model\.safetensors or pytorch_model\.bin of some/vit: give --start"):
        hub.fetch("some/vit")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
        given = ["train", "DG-T-SP", "--run", str(tmp_path / "run"), "--start", "facebook/vit-mae-base"]
        assert execute(given) == 4
    said = capsys.readouterr().err
    assert (
        "get model.safetensors or pytorch_model.bin of it where there is a network, and give --start that file." in said
    )
    monkeypatch.setenv("HF_ENDPOINT", f"file://{tmp_path}")
    with pytest.raises(InputError, match="is no address of the web"):
        hub.fetch("some/vit")
    for wrong in ("nowhere.bin", "a/b/c", "../x", "some/vit@../../x"):
        with pytest.raises(
            InputError, match=r"There is no file .*: give --start a file of weights, or facebook/vit-mae"
        ):
            vitmae.load_start(wrong, PRESETS["DG-T-SP"].spec())
    # as the sentence says: a file of it
    monkeypatch.setattr(vitmae, "BASE", SMALL)
    (tmp_path / "pytorch_model.bin").write_bytes(packed(made("since 5", SMALL), tmp_path / "packed"))
    assert vitmae.load_start(str(tmp_path / "pytorch_model.bin"), spec_of(SMALL)).weights


@pytest.mark.parametrize("name", ["w.safetensors", "w.bin"])
def test_files_that_hold_no_weights_are_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vitmae, "BASE", SMALL)
    path = tmp_path / name
    for content in (b"", b"weights", bytes(1000)):
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"{name} is no file of weights \(.+\): copy it again\."):
            vitmae.load_start(str(path), spec_of(SMALL))
    if name.endswith(".bin"):
        torch.save({"a": torch.zeros(1), "b": 3}, path)
        with pytest.raises(InputError, match="it holds other things than tensors by name"):
            vitmae.load_start(str(path), spec_of(SMALL))
