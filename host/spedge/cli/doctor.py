"""spedge doctor: what this machine has and lacks, and the commands that mend it."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from spedge.cli.common import JsonOption, print_json, progress, show, table

MARKS = {"good": "✓", "optional": "–", "wrong": "✗"}


def command(
    board: Annotated[
        list[str] | None,
        typer.Option("--board", "-b", help="A board that is needed, with all that builds, runs or writes it."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look for all that spedge uses on this machine, and tell the commands that bring what is missing.

    Exits with 1 when something that is needed is missing, or something that is there cannot be used.
    """
    from spedge.jobs.doctor import examine

    with progress("Looking around"):
        diagnosis = examine(board or ())
    if as_json:
        findings = [dataclasses.asdict(finding) for finding in diagnosis.findings]
        print_json({"good": not diagnosis.wrong, "findings": findings})
    else:
        from rich.text import Text

        listing = table("", "", "what", "", "found", "to mend it")
        topic = ""
        for finding in diagnosis.findings:
            first = finding.topic if finding.topic != topic else ""
            topic = finding.topic
            cells = (MARKS[finding.state], first, finding.name, finding.found, finding.mend or "")
            listing.add_row(*(Text(cell) for cell in cells))
        show(listing)
        wrong = len(diagnosis.wrong)
        print(f"{wrong} to mend (✗); what is marked – is missing, and not needed for the rest" if wrong else "all well")
    if diagnosis.wrong:
        raise typer.Exit(1)
