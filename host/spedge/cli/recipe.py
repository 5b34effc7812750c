"""The fields of a preset's recipe as options of the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from spedge.cli.options import in_place_of


def _option(help: str) -> Any:
    return typer.Option(help=help, show_default=False, rich_help_panel="In the preset's place")


def _options(
    *,
    batch: Annotated[int | None, _option("Samples a batch and device.")] = None,
    steps: Annotated[int | None, _option("Steps of the optimizer.")] = None,
    learning_rate: Annotated[float | None, _option("The highest.")] = None,
    accumulate: Annotated[int | None, _option("Batches added up for a step.")] = None,
    optimizer: Annotated[str | None, _option("adam or adamw.")] = None,
    weight_decay: Annotated[float | None, _option("Of matrices, by adamw.")] = None,
    warm_up: Annotated[float | None, _option("Share of the steps until the learning rate is highest.")] = None,
    first_divide: Annotated[float | None, _option("The learning rate begins at the highest over this.")] = None,
    last_divide: Annotated[float | None, _option("The learning rate ends at the highest over this.")] = None,
    clip: Annotated[float | None, _option("Largest norm of a step's gradient.")] = None,
    precision: Annotated[
        str | None, _option("fp32, or mixed fp16 or bf16; fp16 is for GPUs and is fp32 without one.")
    ] = None,
    dropout: Annotated[float | None, _option("Share of features dropped.")] = None,
    label_smoothing: Annotated[float | None, _option("Share of a label that goes to all classes.")] = None,
    average_samples: Annotated[
        int | None, _option("Samples over which the kept weights are averaged; 0: none are.")
    ] = None,
    pool: Annotated[int | None, _option("Batches among which samples are sorted by size.")] = None,
    minutes: Annotated[
        float | None, _option("CPU time at most; the schedule is shortened when it would take longer.")
    ] = None,
    holdout: Annotated[
        float | None, _option("Share held out when the data has neither a validation nor a test part.")
    ] = None,
    workers: Annotated[int | None, _option("Processes that load; 0: the one that trains.")] = None,
    validate_epochs: Annotated[
        int | None, _option("Times through the data between two looks at the held-out part.")
    ] = None,
    stop_accuracy: Annotated[
        float | None, _option("Share of the held-out part right that is enough: training ends there.")
    ] = None,
    log_steps: Annotated[int | None, _option("Steps whose loss is averaged for the curves.")] = None,
    augment: Annotated[bool | None, _option("Change samples at random, as they are learned from.")] = None,
) -> None:
    """The fields of training.presets.Recipe, but for its augmentation."""


def changes_recipe(command: Callable[..., None]) -> Callable[..., None]:
    """A verb with a keyword `recipe`, a dictionary, gets these options in its place; it has those that were given."""
    return in_place_of("recipe", _options, _given, command)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


class PresetCommand(TyperCommand):
    """A verb whose help shows the values of the preset that is named beside --help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if set(args) & set(ctx.help_option_names):
            self._show_values(args)
        return super().parse_args(ctx, args)

    def _show_values(self, args: list[str]) -> None:
        from spedge.training.presets import PRESETS

        recipe = next((PRESETS[name].recipe for name in args if name in PRESETS), None)
        for option in self.params:
            value = getattr(recipe, option.name or "", None)
            if isinstance(option, TyperOption) and value is not None:
                option.show_default = "yes" if value is True else "no" if value is False else str(value)
