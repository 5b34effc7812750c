"""Pages of the documentation site that are made from the code: the gallery, every command's help, the API.

The program and the package are asked, so that what the pages say is what is there.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
#: What users import: the modules of PUBLIC in tests/python/test_names.py, in the order of the site.
PUBLIC_MODULES = (
    "spedge", "spedge.recordings", "spedge.events", "spedge.evt2", "spedge.decoders", "spedge.embedding",
    "spedge.compat", "spedge.device", "spedge.continuous", "spedge.sources", "spedge.cameras", "spedge.training",
    "spedge.training.data",
    "spedge.compile",
)  # fmt: skip


# ---------------------------------------------------------------- the gallery
class Example(NamedTuple):
    """A program in examples/: its docstring is what the gallery says of it, and it writes one picture of its name."""

    path: Path
    title: str
    text: str
    code: str
    picture: str

    @property
    def name(self) -> str:
        return self.path.stem


def examples() -> list[Example]:
    """All, from reading to training."""
    order = ("draw_a_recording", "every_format", "make_tokens", "embed_and_classify", "run_on_a_board", "slow_motion")
    paths = sorted((REPOSITORY / "examples").glob("*.py"))
    paths.sort(key=lambda path: order.index(path.stem) if path.stem in order else len(order))
    return [read_example(path) for path in paths]


def read_example(path: Path) -> Example:
    source = path.read_text()
    docstring = ast.get_docstring(ast.parse(source))
    assert docstring, f"{path.name} says nothing of itself"
    title, _, text = docstring.partition("\n")
    code = source.split('"""', 2)[2].strip("\n")
    (picture,) = set(re.findall(rf'"({path.stem}\.(?:png|gif))"', code))
    return Example(path, title, text.strip(), code, picture)


def gallery_page(printed: Mapping[str, str]) -> str:
    """printed: what each example printed, by its name."""
    parts = [
        "# Gallery",
        "Programs in `examples/` that use what ships or make their own data. Each was run for this page, which shows "
        "what it drew and what it printed; `make test` runs them all. They need the extra `view`; the one with a board "
        "`compile` and `firmware`, too, the one that trains `train` and `recordings`, the one with formats "
        "`recordings`.",
    ]
    for example in examples():
        parts += [
            f"({example.name})=\n## {example.title}",
            example.text,
            f"![{example.title}](gallery/{example.picture})",
            f"`python examples/{example.path.name}` says",
            f"```text\n{printed[example.name].rstrip()}\n```",
            f"```python\n{example.code}\n```",
        ]
    return "\n\n".join(parts) + "\n"


# ---------------------------------------------------------------- the commands
def commands() -> Iterator[tuple[list[str], Any]]:
    """Each verb's words behind `spedge`, with what typer made of it."""
    import typer

    from spedge import cli

    def below(words: list[str], command: Any) -> Iterator[tuple[list[str], Any]]:
        for name, child in getattr(command, "commands", {}).items():
            if not child.hidden:
                yield [*words, name], child
                yield from below([*words, name], child)

    yield from below([], typer.main.get_command(cli.app))


def command_page(words: list[str], command: Any) -> str:
    """What `--help` says, as a page."""
    with command.make_context(" ".join(["spedge", *words]), [], resilient_parsing=True) as context:
        usage = command.get_usage(context).partition(":")[2].strip()
        records: list[tuple[bool, tuple[str, str]]] = [
            (parameter.param_type_name == "argument", record)
            for parameter in command.get_params(context)
            if (record := parameter.get_help_record(context)) is not None
        ]
    parts = [f"# spedge {' '.join(words)}", f"```text\n{' '.join(usage.split())}\n```", _prose(command.help or "")]
    for title, arguments in (("Arguments", True), ("Options", False)):
        rows = [record for is_argument, record in records if is_argument == arguments]
        if rows:
            table = ["| | |", "|---|---|", *(f"| `{_cell(name)}` | {_prose(_cell(text))} |" for name, text in rows)]
            parts += [f"## {title}", "\n".join(table)]
    children = getattr(command, "commands", {})
    if children:
        parts += ["## Commands", "\n".join(f"- [{name}]({'-'.join([*words, name])}.md)" for name in children)]
    return "\n\n".join(part for part in parts if part) + "\n"


def command_pages() -> dict[str, str]:
    """Every command's page by its file's name, and their list."""
    from spedge import cli

    pages = {"-".join(words): command_page(words, command) for words, command in commands()}
    rows = "\n".join(pages)
    epilog = cli.app.info.epilog
    pages["index"] = (
        "# Commands\n\nWhat `spedge COMMAND --help` says of each.\n\n"
        f"{epilog}\n\n```{{toctree}}\n:maxdepth: 1\n\n{rows}\n```\n"
    )
    return pages


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _prose(text: str) -> str:
    """A help text as Markdown: options and code spans are code, and no other sign means anything."""
    plain = textwrap.dedent(inspect.cleandoc(text)).replace("\b", "")
    parts = re.split(r"(`[^`]+`|(?<![\w-])--[a-z][a-z-]*)", plain)
    parts[::2] = [re.sub(r"([*_<>\[\]#$])", r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [f"`{part.strip('`')}`" for part in parts[1::2]]
    return "".join(parts)


# ---------------------------------------------------------------- the API
def api_page(module: str, seen: dict[int, str]) -> str:
    """A page that has Sphinx document a module's public names.

    seen: what other pages have documented, by identity; a name for one of these says where it is.
    """
    thing = importlib.import_module(module)
    text = inspect.cleandoc(thing.__doc__ or "")
    parts = [f"{module}\n{'=' * len(module)}", _rst(text), f".. py:module:: {module}"]
    for name in thing.__all__:
        if name.startswith("__"):
            continue
        value = getattr(thing, name)
        directive = _directive(value)
        if inspect.ismodule(value):
            own = value.__name__ in PUBLIC_MODULES
            parts.append(f":doc:`{value.__name__}`" if own else f"``{value.__name__}``: {_first(value)}")
        elif directive != "autodata" and id(value) in seen:
            kind = directive.removeprefix("auto")
            parts.append(f".. py:{kind}:: {name}\n   :no-index:\n\n   This is :py:obj:`{seen[id(value)]}`.")
        elif directive == "autodata":
            parts.append(f".. py:data:: {name}\n   :value: {_value(value)}")
        else:
            seen[id(value)] = f"{module}.{name}"
            parts.append(f".. {directive}:: {module}.{name}{_inherits(value)}")
    return "\n\n".join(parts) + "\n"


def _directive(value: Any) -> str:
    if inspect.isclass(value):
        return "autoexception" if issubclass(value, BaseException) else "autoclass"
    return "autofunction" if callable(value) and not isinstance(value, dict) else "autodata"


def _inherits(value: Any) -> str:
    """Members of bases that have no page of their own are the class's."""
    hidden = inspect.isclass(value) and [b for b in value.__mro__[1:] if b.__module__.startswith("spedge")]
    return "\n   :inherited-members: object, Dataset, BaseException, tuple, Protocol, ABC, Generic" if hidden else ""


def _first(thing: Any) -> str:
    return _rst(inspect.cleandoc(thing.__doc__ or "").split("\n")[0])


def _value(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 200 else f"{text[:197]}..."


def _rst(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"``\1``", text)
