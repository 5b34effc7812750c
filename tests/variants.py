"""Variants of a test that are alike: some in `make test`, all in `make test-long`."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

import pytest


def long(*values: Any) -> list[Any]:
    """Parameters of a variant each, for `make test-long`."""
    return [pytest.param(value, marks=pytest.mark.long) for value in values]


def quick_of(values: Iterable[Any], quick: Container[Any]) -> list[Any]:
    """Parameters of a variant each, in their order; those that are not quick are for `make test-long`."""
    return [param for value in values for param in ([value] if value in quick else long(value))]
