"""The documentation site: `make docs` writes build/docs/html, and ends with 1 where a warning or a dead link is left.

    python -m tools.docs_site

Pages of the repository are copied to build/docs/source, their links led to where things are on the site; the gallery is
made by running the examples, the commands' pages by asking the program, the API's by Sphinx from the docstrings.
"""

from __future__ import annotations

import argparse
import os
import posixpath
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools import links
from tools.site_pages import PUBLIC_MODULES, Example, api_page, command_pages, examples, gallery_page

REPOSITORY = Path(__file__).resolve().parents[1]
BUILD = REPOSITORY / "build" / "docs"
SOURCE, HTML = BUILD / "source", BUILD / "html"
#: Pages that lie elsewhere than in docs/, and what they are called on the site.
ELSEWHERE = {
    "README.md": "overview.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "firmware/lib/SPEC.md": "spec.md",
    "firmware/port/README.md": "port.md",
    "host/spedge/assets/README.md": "assets.md",
}


def place_of(path: str) -> str | None:
    """What a file of the repository is called on the site, in whose folder all of these lie; None: it is not there."""
    if path in ELSEWHERE:
        return ELSEWHERE[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.startswith("examples/"):
        return "gallery.md"
    return None


def staged(path: str, text: str) -> str:
    """A page of the repository with its links as they are on the site. Raises ValueError for one that is not there."""

    def led(link: str) -> str:
        target, _, anchor = link.partition("#")
        if not target:
            return link
        at = posixpath.normpath(f"{Path(path).parent.as_posix()}/{target}")
        place = place_of(at)
        if place is None:
            raise ValueError(f"{path}: {link} is not on the site: name it in ELSEWHERE of tools/docs_site.py")
        if at.startswith("examples/") and at.endswith(".py"):
            anchor = Path(at).stem
        return place + (f"#{anchor}" if anchor else "")

    plain = links.without_code(text)
    for link in sorted(set(links.links_of(text)), key=len, reverse=True):
        # Places in `plain` are those in `text`: code is blanked by as many signs, but for fences, of which lines stay.
        if led(link) != link:
            text = "\n".join(
                line.replace(f"]({link})", f"]({led(link)})") if f"]({link})" in bare else line
                for line, bare in zip(text.split("\n"), plain.split("\n"), strict=True)
            )
            plain = links.without_code(text)
    return text


def stage() -> None:
    """Copy the pages of the repository, and what they show."""
    for path in sorted((REPOSITORY / "docs").iterdir()):
        if path.suffix == ".md":
            _write(SOURCE / path.name, staged(f"docs/{path.name}", path.read_text()))
        elif path.suffix in (".png", ".svg", ".gif"):
            shutil.copyfile(path, SOURCE / path.name)
    for name, place in ELSEWHERE.items():
        _write(SOURCE / place, staged(name, (REPOSITORY / name).read_text()))


def run(example: Example, into: Path) -> str:
    """Run an example, move its picture, and return what it printed. Raises CalledProcessError where it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        given = [sys.executable, str(example.path)]
        done = subprocess.run(given, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        shutil.copyfile(Path(folder) / example.picture, into / example.picture)
    return str(done.stdout)


def generate() -> None:
    """The pages that are made: gallery, commands, API."""
    pictures = SOURCE / "gallery"
    pictures.mkdir()
    printed = {}
    for example in examples():
        print(f"running {example.path.name}", flush=True)
        printed[example.name] = run(example, pictures)
    _write(SOURCE / "gallery.md", gallery_page(printed))
    for name, text in command_pages().items():
        _write(SOURCE / "commands" / f"{name}.md", text)
    seen: dict[int, str] = {}
    for module in PUBLIC_MODULES:
        _write(SOURCE / "api" / f"{module}.rst", api_page(module, seen))
    rows = "\n".join(f"   {module}" for module in PUBLIC_MODULES)
    _write(SOURCE / "api" / "index.rst", f"Python\n======\n\n.. toctree::\n   :maxdepth: 1\n\n{rows}\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def main() -> int:
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    dead = links.dead_links(links.pages())
    if not dead:
        shutil.rmtree(BUILD, ignore_errors=True)
        SOURCE.mkdir(parents=True)
        stage()
        generate()
        given = ["-W", "--keep-going", "-q", "-b", "html", "-c", str(REPOSITORY / "docs"), str(SOURCE), str(HTML)]
        code = subprocess.run([sys.executable, "-m", "sphinx", *given], check=False).returncode
        if code:
            return code
        dead = links.dead_in_html(HTML)
    for line in dead:
        print(f"dead link: {line}", file=sys.stderr)
    if dead:
        return 1
    print(f"{len(list(HTML.rglob('*.html')))} pages: {HTML / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
