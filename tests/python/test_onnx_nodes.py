"""The node tests of package onnx for every operator that docs/compile.md lists: right as C, or refused with a sentence.

What is refused stands in onnx_refused.py, exactly: one that starts to work has to leave it.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from spedge.compile import CompileError, compile_onnx
from spedge.compile.fixed.operators import SUPPORTED, WRITTEN_OUT
from tests.needs import needs

from .onnx_models import Library
from .onnx_nodes import SEVERAL, Case, node_tests
from .onnx_refused import REFUSED

needs("tvm", "cc")

# What a refusal says: which node or end of the graph, and what to do.
SENTENCES = re.compile(
    r"unsupported ONNX operator: \w+ node '[^']+'.* \(instead: .+\)"
    r"|the inputs are .+: expected one float32 tensor.*; make the others constants, .+"
    r"|the input '\w+' has the size 0 at axis \d: export it with sizes of 1 and more"
    r"|the output '\w+' has no elements: .+"
)


#: Of operators that are lifted by the same lines, one is in `make test`; the others, too, by `make test-onnx`.
ALIKE = frozenset(
    [
        "Div",
        "Exp",
        "GreaterOrEqual",
        "HardSwish",
        "Less",
        "LessOrEqual",
        "Max",
        "Neg",
        "Reciprocal",
        "ReduceMax",
        "ReduceMin",
        "Sqrt",
        "Sub",
    ]
)
LONG = [pytest.param(operator, marks=pytest.mark.onnx) for operator in sorted(WRITTEN_OUT | ALIKE)]


@pytest.mark.parametrize("operator", [*sorted(SUPPORTED - ALIKE), SEVERAL, *LONG])
def test_the_node_tests_of(operator: str, tmp_path: Path) -> None:
    cases = {case.label: case for case in node_tests()[operator]}
    assert cases, "no node test of it"
    refused: dict[str, str] = {}
    folders: dict[str, Path] = {}
    for i, (label, case) in enumerate(cases.items()):
        path = tmp_path / f"{i}.onnx"
        onnx.save(case.model, str(path))
        try:
            compile_onnx(path, "native", tmp_path / str(i))
        except CompileError as error:
            refused[label] = str(error)
        else:
            folders[label] = tmp_path / str(i)
    library = Library(folders, tmp_path)
    assert not library.broken
    wrong = {label: problem for label in folders if (problem := _compare(library, cases[label]))}
    assert not wrong
    assert not [sentence for sentence in refused.values() if not SENTENCES.fullmatch(sentence)]
    listed = {label: why for why, labels in REFUSED.items() for label in labels.split() if label in cases}
    assert sorted(refused) == sorted(listed)
    assert not {label: refused[label] for label, why in listed.items() if why not in refused[label]}


def _compare(library: Library, case: Case) -> str:
    """What is wrong with what a model writes; nothing if it is right."""
    got = library.run(case.label, case.given, case.wanted.size)
    near = np.isclose(got, case.wanted, rtol=case.rtol, atol=case.atol, equal_nan=True)
    if near.all():
        return ""
    at = int(np.argmin(near))
    return f"{got[at]} for {case.wanted[at]} at {at}"


def test_the_refused_are_node_tests() -> None:
    listed = [label for labels in REFUSED.values() for label in labels.split()]
    assert len(set(listed)) == len(listed)
    assert set(listed) <= {case.label for cases in node_tests().values() for case in cases}
