"""spedge datasets: which there are, and what is there of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spedge.base.errors import CheckFailed
from spedge.cli.common import JsonOption, print_json, print_pairs, show, table


def command(
    name: Annotated[str | None, typer.Argument(help="Of a data set.", show_default=False)] = None,
    folder: Annotated[
        Path | None,
        typer.Argument(help="Where it was unpacked: says what is there and what is not.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the data sets, tell of one, or look at what is there of one."""
    from spedge.training.data import registry

    if name is None:
        _list(as_json)
        return
    about = registry.about_data(name)
    if folder is None:
        document = {"name": name, **about}
        print_json(document) if as_json else print_pairs(document)
        return
    found = registry.look_at(name, folder)
    parts = {part: sum(source.part == part for source in found.sources) for part in ("train", "validation", "test")}
    document = {"name": name, "folder": str(found.root), "recordings": parts, "problems": list(found.problems)}
    if as_json:
        print_json(document)
    else:
        print_pairs({"name": name, "folder": str(found.root), **{f"{p} recordings": n for p, n in parts.items()}})
    if found.problems:
        raise CheckFailed(" ".join(found.problems))


def _list(as_json: bool) -> None:
    from spedge.training.data import registry

    rows = {name: registry.about_data(name) for name in registry.MODULES}
    if as_json:
        print_json({"datasets": [{"name": name, **about} for name, about in rows.items()]})
        return
    listing = table("", "name", "what", "size", "licence", "how it is read")
    for name, about in rows.items():
        listing.add_row(name, about["title"], about["size"], about["licence"], about["read"])
    show(listing)
