"""The documentation site: no link is dead, and its pages are made of what there is. `make docs` builds it whole."""

from __future__ import annotations

import importlib
import runpy
from pathlib import Path

import pytest

from tests.python.test_names import PUBLIC
from tools import links
from tools.docs_site import ELSEWHERE, place_of, staged
from tools.site_pages import PUBLIC_MODULES, api_page, command_page, command_pages, commands


def test_no_link_is_dead() -> None:
    found = links.pages()
    assert len(found) >= 25
    assert links.dead_links(found) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# One `--two`: three\n\n## Same\n\n## Same\n\n```sh\n# no heading\n```\n")
    page = tmp_path / "page.md"
    good = "# Here\n[a](other.md#one---two-three) [b](other.md#same-1) [c](#here) [d](https://nowhere.invalid/x#y)\n"
    page.write_text(good + "`[code](gone.md)`\n```\n[code](gone.md)\n```\n")
    assert links.dead_links([page]) == []
    page.write_text(good + "![e](gone.png) [f](other.md#no-heading) [g](#there)\n")
    said = [line.partition(": ")[2] for line in links.dead_links([page])]
    assert said == ["there is no gone.png", "other.md has no heading #no-heading", "page.md has no heading #there"]


def test_a_dead_link_in_html_is_found(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "other.html").write_text('<h1 id="one">One</h1><a href="../page.html#top">up</a>')
    page = tmp_path / "page.html"
    good = '<p id="top"><a href="in/other.html#one">a</a><a href="#">b</a><a href="https://nowhere.invalid/">c</a>'
    page.write_text(good)
    assert links.dead_in_html(tmp_path) == []
    page.write_text(good + '<a href="in/other.html#two">d</a><img src="gone.png"><a href="/etc/passwd">e</a>')
    assert links.dead_in_html(tmp_path) == [
        "page.html: there is no /etc/passwd",
        "page.html: there is no gone.png",
        "page.html: in/other.html has no #two",
    ]


def test_pages_are_led_to_each_other_on_the_site(repository: Path) -> None:
    text = "[a](../firmware/lib/SPEC.md#frames) `[a](../README.md)` [b](view.md)\n```sh\n[c](../README.md)\n```\n"
    assert staged("docs/link.md", text) == (
        "[a](spec.md#frames) `[a](../README.md)` [b](view.md)\n```sh\n[c](../README.md)\n```\n"
    )
    assert staged("docs/link.md", "[c](../examples/make_tokens.py)") == "[c](gallery.md#make_tokens)"
    assert staged("README.md", "![p](docs/demo.png) [q](CHANGELOG.md)") == "![p](demo.png) [q](changelog.md)"
    with pytest.raises(ValueError, match=r"link\.md: \.\./Makefile is not on the site"):
        staged("docs/link.md", "[d](../Makefile)")
    for path in [*(f"docs/{page.name}" for page in (repository / "docs").glob("*.md")), *ELSEWHERE]:
        assert place_of(path) and staged(path, (repository / path).read_text())


def test_every_page_is_in_the_contents(repository: Path) -> None:
    listed = (repository / "docs" / "index.md").read_text().split()
    for page in [page.stem for page in (repository / "docs").glob("*.md")] + [p[:-3] for p in ELSEWHERE.values()]:
        assert page == "index" or page in listed or f"<{page}>" in listed, f"docs/index.md does not list {page}"


def test_every_command_has_a_page_with_all_its_options() -> None:
    pages = command_pages()
    assert {"stream", "import", "bench-tokenizer", "bundle-new"} < set(pages)
    for words, command in commands():
        page = pages["-".join(words)]
        assert page == command_page(words, command) and f"# spedge {' '.join(words)}\n" in page
        assert "-".join(words) in pages["index"].split()
        for parameter in command.params:
            for option in parameter.opts if not getattr(parameter, "hidden", False) else ():
                assert option.startswith("-") is False or option in page, f"{words}: {option}"
    assert "`--labels`" in pages["stream"] and "folder of" in pages["import"].lower()


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_every_public_name_is_on_a_page(module: str) -> None:
    thing = importlib.import_module(module)
    page = api_page(module, {})
    for name in thing.__all__:
        whole = getattr(getattr(thing, name), "__name__", "")  # of a module that is offered by another name
        named = name in page.split() or f"{module}.{name}" in page or f"``{whole}``" in page
        assert name.startswith("__") or named, name


def test_public_modules_are_those_that_stay() -> None:
    assert set(PUBLIC_MODULES) == set(PUBLIC)


def test_docstrings_mean_what_they_say(repository: Path) -> None:
    """A * or _ is a sign, `this` is code, and what is indented is code."""
    made = runpy.run_path(str(repository / "docs" / "conf.py"))["_docstring"]
    lines = ["Twice `a_b`s: 2 * n of", "x_y|z.", "", "    code * here", "", "- one", "- two"]
    made(None, "function", "f", None, None, lines)
    assert lines == [
        "Twice ``a_b``\\s: 2 \\* n of x\\_y\\|z.", "", "::", "", "        code * here", "", "- one", "- two", "",
    ]  # fmt: skip
