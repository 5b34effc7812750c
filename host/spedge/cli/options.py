"""Options that several verbs have, or that are many, written once: a verb takes them as one keyword."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any


def in_place_of(
    keyword: str, options: Callable[..., None], make: Callable[..., Any], command: Callable[..., None]
) -> Callable[..., None]:
    """A verb that has the parameters of `options` as its own, where `command` has the keyword.

    make: of their values, by name, what the command gets, whose type is not looked up: it would have to be loaded.
    """
    spliced = _parameters(options, keyword)
    own = _parameters(command, keyword)
    at = list(own).index(keyword)
    before, after = list(own.values())[:at], list(own.values())[at + 1 :]

    @functools.wraps(command)
    def verb(**given: Any) -> None:
        value = make(**{name: given.pop(name) for name in spliced})
        command(**given, **{keyword: value})

    parameters = [*before, *spliced.values(), *after]
    verb.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    )
    verb.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return verb


def _parameters(function: Callable[..., None], keyword: str) -> dict[str, inspect.Parameter]:
    """With annotations that are no strings any more."""
    types = {str(function.__annotations__.get(keyword, "")): object}
    # Not get_type_hints: on Python 3.10 it hides what is said of a parameter whose default is None.
    return dict(inspect.signature(function, locals=types, eval_str=True).parameters)
