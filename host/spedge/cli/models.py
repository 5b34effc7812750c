"""spedge models: the bundles and recordings that come with spedge, which verbs take by their names."""

from __future__ import annotations

from spedge.cli.common import JsonOption, byte_count, print_json, show, table


def command(as_json: JsonOption = False) -> None:
    """List the bundles and recordings that come with spedge: verbs take them by their names."""
    from spedge.base.paths import recording_names
    from spedge.model.shipped import shipped

    models, recordings = shipped(), recording_names()
    if as_json:
        rows = [
            {
                "name": model.name,
                "path": str(model.bundle.path),
                "labels": list(model.bundle.labels),
                "width": model.bundle.sensor.width,
                "height": model.bundle.sensor.height,
                "bytes": model.size,
                "top1": model.top1,
                "held_out": model.held_out,
            }
            for model in models
        ]
        print_json({"models": rows, "recordings": recordings})
        return
    listing = table("", "model", "sensor", "size", "right", "labels", right=("size",))
    for model in models:
        sensor = f"{model.bundle.sensor.width}×{model.bundle.sensor.height}"
        right = "" if model.top1 is None else f"{model.top1:.1%} of {model.held_out}"
        listing.add_row(model.name, sensor, byte_count(model.size), right, ", ".join(model.bundle.labels))
    show(listing)
    print(f"recordings: {', '.join(recordings)}")
