"""spedge demo: see it work."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from spedge.cli.common import PrecisionOption, progress


def command(
    out: Annotated[Path, typer.Option(help="Folder for the picture.")] = Path("demo-out"),
    precision: PrecisionOption = "fp32",
) -> None:
    """Check gesture recordings on the boards that can run here, and draw a picture of them."""
    from spedge.base.errors import UsageError
    from spedge.cli.check import print_report
    from spedge.jobs.demo import demo
    from spedge.view.picture import picture

    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("the demo draws a picture: pip install 'spedge[compile,firmware,view]'")
    with progress("Preparing") as say:
        report = demo(precision, say, print_report)
        say("Drawing")
        picture(report.panels, out / "demo.png", report.title)
    for board in report.left_out:
        print(f"{board.name} was left out; to have it: {board.bring}")
    print(f"picture: {out / 'demo.png'}")
    if not report.passed:
        raise typer.Exit(1)
