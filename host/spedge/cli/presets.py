"""spedge presets: what can be trained."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from spedge.cli.common import JsonOption, print_json, print_pairs, show, table


def command(
    name: Annotated[str | None, typer.Argument(help="Of a preset: all that it says.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """List the presets with data, representation, model and recipe, or tell all of one."""
    from spedge.training import presets

    if name is not None:
        document = _document(presets.preset(name))
        if as_json:
            print_json(document)
        else:
            flat = {k: v for k, v in document.items() if k not in ("recipe", "representation", "model")}
            for part in ("representation", "model", "recipe"):
                flat |= _flat(part, document[part])
            print_pairs(flat)
        return
    if as_json:
        print_json({"presets": [_document(preset) for preset in presets.PRESETS.values()]})
        return
    listing = table("", "preset", "data", "input", "model", "batch", "steps", "rate", right=("batch", "steps", "rate"))
    for preset in presets.PRESETS.values():
        recipe = preset.recipe
        batch = f"{recipe.batch}x{recipe.accumulate}" if recipe.accumulate > 1 else str(recipe.batch)
        listing.add_row(
            preset.name,
            preset.dataset,
            _input(preset.representation),
            _model(preset.model),
            batch,
            f"{recipe.steps:,}",
            f"{recipe.learning_rate:g}",
        )
    show(listing)


def _input(representation: Any) -> str:
    if representation.type == "events":
        return f"{representation.keep} {representation.count:,} events"
    tokenizer = representation.tokenizer
    if tokenizer.kind == "voxel":
        return (
            f"P{tokenizer.patch_size} voxels of {tokenizer.duration_us / 1000:g} ms, at least {tokenizer.threshold:g}"
        )
    return f"P{tokenizer.patch_size} {tokenizer.kind}, threshold {tokenizer.threshold:g}"


def _model(model: Any) -> str:
    if model.type == "detector":
        return f"detector on {_model(model.encoder)}"
    if model.type == "transformer":
        return f"transformer {model.hidden}-{model.intermediate}, {model.heads} heads, {model.layers} layers"
    return f"{model.type} {'-'.join(map(str, model.channels))}"


def _document(preset: Any) -> dict[str, Any]:
    return {
        "name": preset.name,
        "data": preset.dataset,
        "representation": {"type": preset.representation.type, **asdict(preset.representation)},
        "model": {"type": preset.model.type, **asdict(preset.model)},
        "recipe": asdict(preset.recipe),
    }


def _flat(name: str, value: Any) -> dict[str, Any]:
    """Nested names joined by spaces, for a table."""
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for key, inner in value.items():
            found |= _flat(f"{name} {key}".replace("_", " "), inner)
        return found
    return {name: "-" if value is None else str(value)}
