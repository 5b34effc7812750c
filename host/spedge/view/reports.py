"""What the reports of `spedge check` and `spedge evaluate` say, from the documents that `--json` prints."""

from __future__ import annotations

import csv
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from spedge.base.files import whole
from spedge.events.part import Part
from spedge.link.protocol import Hello
from spedge.model.bundle import Bundle
from spedge.model.parts import Classification, TokenInput
from spedge.recordings import PLAIN, Reading
from spedge.view.open import scene_of_events
from spedge.view.report import Markup, below, beside, curves, grid, image, matrix, page, pairs, stacked, table
from spedge.view.scene import Scene, softmax

PICTURES = 8  #: recordings that are drawn, those that fail first
_RESULTS = 40  # on the way through a recording that is drawn
_BINS = 200  # of the rate of events
_COLUMNS = {  #: of a row of the document: what the table calls it
    "name": "recording", "path": "recording", "passed": "verdict", "events": "events", "events_sent": "events sent",
    "events_device": "events on the device", "events_pending": "pending", "events_dropped": "dropped",
    "steps": "steps", "tokens": "tokens", "tokens_host": "tokens host", "tokens_device": "tokens device",
    "tokens_equal": "tokens equal", "edges": "edges", "boxes": "boxes", "embedded_max_abs_diff": "largest Δ embedded",
    "logits_max_abs_diff": "largest Δ logit", "head_max_abs_diff": "largest Δ head",
    "state_max_abs_diff": "largest Δ state", "steps_at_an_edge": "steps at an edge", "label": "label",
    "label_host": "label host", "label_device": "label device", "results": "results on the way",
}  # fmt: skip
_TEXTS = {"recording", "verdict", "dropped", "tokens equal", "label", "label host", "label device"}
_SIZES = {"all": "all", "S": "below 32² px", "M": "to 96² px", "L": "above"}


def write(path: Path, text: str) -> None:
    """The file appears whole or not at all. Raises UsageError where it cannot be written."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")


def scenes(
    bundle: Bundle,
    recordings: Sequence[Path],
    document: Mapping[str, Any],
    reading: Reading = PLAIN,
    part: Part | None = None,
) -> dict[str, Scene]:
    """What is drawn of a check's recordings, by their names; computed here. document: of the check. part: of the
    recordings' sensor that the bundle's is, where that is another."""
    failed = {_name(row) for row in _checked(document) if not row["passed"]}
    chosen = sorted(recordings, key=lambda path: path.name not in failed)[:PICTURES]
    return {path.name: _scene(bundle, path, reading, part) for path in chosen}


def _scene(bundle: Bundle, path: Path, reading: Reading, part: Part | None) -> Scene:
    """With what the model says over time, of a classifier of tokens."""
    from spedge.jobs.given import Given
    from spedge.model.steps import tokens_in
    from spedge.view.open import patch_of

    given = Given(bundle, reading, part)
    events = given.seen(path, given.events(path))
    if isinstance(bundle.task, Classification) and isinstance(bundle.representation, TokenInput):
        every = max(50_000, int(events["t"][-1] - events["t"][0]) // _RESULTS)
        return scene_of_events(events, bundle, every)
    scene = Scene(bundle.sensor.width, bundle.sensor.height, events, patch_of(bundle))
    if not isinstance(bundle.representation, TokenInput):
        return scene
    return Scene(scene.width, scene.height, events, scene.patch_size, tokens_in(events, bundle))


def check_page(
    document: Mapping[str, Any], bundle: Bundle, drawn: Mapping[str, Scene], hello: Hello | None = None
) -> str:
    """A check as HTML. document: CheckReport.to_json() or HostReport.to_json(). hello: of the device, if there is one.

    drawn: of some recordings, by their names.
    """
    rows = _checked(document)
    passed = sum(row["passed"] for row in rows)
    parts = [("Recordings", _rows(rows))]
    if problems := [f"{_name(row)}: {row['problem']}" for row in rows if row["problem"]]:
        parts.append(("What is wrong", below(*problems)))
    if rows and "cost" in rows[0]:
        parts.append(("Costs", _costs(rows, document["cost_unit"])))
    if drawn:
        parts.append(("On the way through the model", below(*(_picture(name, scene) for name, scene in drawn.items()))))
    if any(document.get("line", {}).values()):
        parts.append(("The line", pairs({name.replace("_", " "): n for name, n in document["line"].items()})))
    parts.append(("Versions", _versions(bundle, hello)))
    where = "this machine" if document["board"] == "host" else document["board"]
    summary = (
        f"{passed} of {len(rows)} passed. Compared: tokens, embeddings and outputs of {where} with the reference's."
    )
    return page(f"{bundle.name} on {where}", bool(document["passed"]), summary, parts)


def evaluation_page(document: Mapping[str, Any], run: Path | None = None) -> str:
    """A classifier's evaluation as HTML. document: what `--json` prints. run: a folder with a training's curves."""
    labels, confusion = document["labels"], np.array(document["confusion"], np.int64)
    right = [
        (label, int(confusion[number].sum()), f"{document['per_class'][label]:.1%}")
        for number, label in enumerate(labels)
        if label in document["per_class"]
    ]
    parts = [
        ("Classes", table(("class", "samples", "right"), right, ("samples", "right"))),
        ("Confusion", matrix(confusion, labels)),
        ("Milliseconds a slice", _percentiles(document["milliseconds"])),
        ("Figures", pairs(_figures(document, ("loss", "slices", "tokens_per_slice", "tokens_per_second")))),
    ]
    if run is not None and (learned := _learned(run)):
        parts.append(("Training", learned))
    parts.append(("Versions", _versions()))
    summary = (
        f"{document['top1']:.1%} of {document['samples']} samples of {document['data']} ({document['split']}) right."
    )
    if "fp32" in document:
        summary += f" That is in {document['precision']}; in fp32 {document['fp32']['top1']:.1%}."
    return page(f"{Path(document['model']).name}, evaluated", None, summary, parts)


def detection_page(document: Mapping[str, Any], frames: bytes | None = None) -> str:
    """A detector's evaluation as HTML. document: what `--json` prints. frames: a PNG of the best and worst ones."""
    named = {
        "data",
        "split",
        "model",
        "recordings",
        "steps",
        "labels",
        "per_class",
        "recall",
        "tokens_per_step",
        "seconds",
    }
    figures = {name: f"{value:.3f}" for name, value in document.items() if name not in named and value >= 0}
    classes = [(label, f"{whole:.3f}", f"{half:.3f}") for label, (whole, half) in document["per_class"].items()]
    sizes = [
        (_SIZES[size], "none there" if share < 0 else f"{share:.1%}") for size, share in document["recall"].items()
    ]
    parts = [
        ("Figures", pairs(figures | _figures(document, ("steps", "tokens_per_step")))),
        ("Classes", table(("class", "mAP", "mAP@.50"), classes, ("mAP", "mAP@.50"))),
        ("Labels found at IoU .50", table(("size", "share"), sizes, ("share",))),
    ]
    if document["seconds"]:
        parts.append(("Seconds in all", pairs({name: f"{value:.2f}" for name, value in document["seconds"].items()})))
    if frames is not None:
        parts.append(("Best and worst frames", image(frames, "the best and the worst frames, with labels and boxes")))
    parts.append(("Versions", _versions()))
    summary = (
        f"{document['labels']} labels of {document['recordings']} recordings of {document['data']} "
        f"({document['split']}), scored by Prophesee's protocol."
    )
    return page(f"{Path(document['model']).name}, evaluated", None, summary, parts)


# ---------------------------------------------------------------- parts


def _checked(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """A row for each recording; of a check on this machine, for each sample of the bundle before them."""
    rows: Sequence[Mapping[str, Any]] = document["recordings" if "recordings" in document else "samples"]
    return rows


def _name(row: Mapping[str, Any]) -> str:
    return Path(row["path"]).name if "path" in row else str(row["name"])


def _rows(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """A check's table, of what its rows have."""
    keys = [key for key in _COLUMNS if any(row.get(key) is not None for row in rows)]
    names = [_COLUMNS[key] for key in keys]
    return table(names, [[_value(key, row) for key in keys] for row in rows], [n for n in names if n not in _TEXTS])


def _value(key: str, row: Mapping[str, Any]) -> Any:
    value = row[key]
    if key == "path":
        return _name(row)
    if key == "events_dropped":
        return ", ".join(f"{cause} {count:,}" for cause, count in value.items() if count) or "none"
    if key == "tokens_equal":
        return "yes" if value else "NO"
    if key.endswith("_diff"):
        return "" if value is None else f"{value:.1e}"
    return value


def _costs(rows: Sequence[Mapping[str, Any]], unit: str) -> Markup:
    names, stages = [_name(row) for row in rows], list(rows[0]["cost"])
    numbers = table(("recording", *stages), [(_name(row), *row["cost"].values()) for row in rows], stages)
    return below(stacked({stage: [row["cost"][stage] for row in rows] for stage in stages}, names, unit), numbers)


def _picture(name: str, scene: Scene) -> Markup:
    """Tokens by patch; events over time, and what the model says."""
    rows, columns = scene.grid
    counts = np.zeros((rows, columns), np.int64)
    np.add.at(counts, (scene.tokens.y, scene.tokens.x), 1)
    t = scene.events["t"].astype(np.int64)
    first, lasts = int(t[0]), max(int(t[-1] - t[0]), 1)
    count = np.bincount((t - first) * _BINS // (lasts + 1), minlength=_BINS)
    middle = (np.arange(_BINS) + 0.5) * lasts / _BINS / 1e6
    drawn: list[Markup | str] = [
        "events a second",
        curves(middle, count[:, None] * (_BINS * 1e6 / lasts), ("rate",), low=0),
    ]
    if scene.results is not None and len(scene.results):
        seconds = (scene.results.t - first) / 1e6
        drawn += [
            "what the model says (softmax)",
            curves(seconds, softmax(scene.results.logits), scene.results.labels, low=0),
        ]
    left = below(grid(counts), f"{len(t):,} events, {len(scene.tokens):,} tokens")
    return beside(name, left, below(*drawn))


def _percentiles(stages: Mapping[str, Mapping[str, float]]) -> Markup:
    rows = [(stage, *(f"{value:.2f}" for value in values.values())) for stage, values in stages.items()]
    return table(("stage", "p50", "p90", "p99"), rows, ("p50", "p90", "p99"))


def _figures(document: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    return {name.replace("_", " "): f"{document[name]:,.4g}" for name in names if document[name] is not None}


def _learned(run: Path) -> Markup | None:
    """The curves of `curves.csv` in a run's folder: loss, and the share of held-out samples that were right."""
    file = run / "curves.csv"
    if not file.is_file():
        return None
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    drawn: list[Markup | str] = []
    for name in ("train/loss", "val/loss", "val/accuracy"):
        points = [(float(row["step"]), float(row[name])) for row in rows if row.get(name)]
        if len(points) > 1:
            t, values = np.array(points).T
            drawn += [name, curves(t, values[:, None], (name,), "steps", low=0)]
    return below(*drawn) if drawn else None


def _versions(bundle: Bundle | None = None, hello: Hello | None = None) -> Markup:
    versions = {name: importlib.metadata.version(name) for name in ("spedge", "numpy", "onnxruntime")}
    about: dict[str, Any] = {} if bundle is None else {
        "model": f"{bundle.name}, {bundle.sensor.width}×{bundle.sensor.height}", "bundle": bundle.hash,
    }  # fmt: skip
    if hello is not None:
        about |= {"firmware": f"{hello.version}, build {hello.build}", "model on the device": hello.model}
    made = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    machine = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return pairs({**about, **versions, "machine": machine, "made": made})
