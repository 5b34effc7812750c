"""Links of pages, and whether what they lead to is there: in Markdown as it is committed, and in HTML as built.

Nothing is fetched: addresses of other sites are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

REPOSITORY = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")


def pages() -> list[Path]:
    """The Markdown of the repository that people read."""
    folders = ("", "docs", "host/spedge/assets", "firmware/lib", "firmware/port", "boards", "tests/chips")
    return [path for folder in folders for path in sorted((REPOSITORY / folder).glob("*.md"))]


def without_code(text: str) -> str:
    """A page with its fences and code spans blanked: what looks like a link in there is none."""
    text = re.sub(r"^```.*?^```", lambda m: "\n" * m[0].count("\n"), text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", lambda m: "`" * len(m[0]), text)


def links_of(text: str) -> list[str]:
    """What a page links to and shows, but other sites."""
    return [link for link in _LINK.findall(without_code(text)) if not urlsplit(link).scheme]


def anchors_of(text: str) -> set[str]:
    """What a page's headings are called in addresses: lower case, without punctuation, a - for a space."""
    found: dict[str, int] = {}
    fenced = False
    anchors = set()
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        heading = re.match(r"#{1,6} +(.*)", line)
        if fenced or not heading:
            continue
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
        name = re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
        anchors.add(f"{name}-{found[name]}" if name in found else name)
        found[name] = found.get(name, 0) + 1
    return anchors


def dead_links(paths: Iterable[Path]) -> list[str]:
    """A line for each link of Markdown pages to a file or a heading that is not there."""
    dead = []
    for page in paths:
        for link in links_of(page.read_text()):
            path, _, anchor = link.partition("#")
            target = (page.parent / unquote(path)).resolve() if path else page
            if not target.exists():
                dead.append(f"{page}: there is no {link}")
            elif anchor and (target.suffix != ".md" or anchor not in anchors_of(target.read_text())):
                dead.append(f"{page}: {target.name} has no heading #{anchor}")
    return dead


class _Page(HTMLParser):
    """The identifiers of an HTML page, and what it links to, shows and loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (name == "id" or (name == "name" and tag == "a")):
                self.names.add(value)
            elif value and name in ("href", "src"):
                self.links.add(value)


def dead_in_html(root: Path) -> list[str]:
    """A line for each link of a folder of HTML to a file or an identifier that is not in it."""
    read = {path: _Page(path.read_text()) for path in sorted(root.rglob("*.html"))}
    return [line for path, page in read.items() for line in _dead_of(root, path, page, read)]


def _dead_of(root: Path, path: Path, page: _Page, read: dict[Path, _Page]) -> Iterator[str]:
    for link in sorted(page.links):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc or link == "#":
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if not target.is_file() or not target.is_relative_to(root.resolve()):
            yield f"{path.relative_to(root)}: there is no {link}"
        elif parts.fragment and target in read and unquote(parts.fragment) not in read[target].names:
            yield f"{path.relative_to(root)}: {parts.path or 'the page'} has no #{parts.fragment}"
