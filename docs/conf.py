"""The documentation site, for Sphinx. `make docs` builds it: tools/docs_site.py puts the pages together first."""

import re

project = "spedge"
copyright = "the authors of spedge; Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = "spedge"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {"top_of_page_buttons": []}
templates_path = []

myst_heading_anchors = 6
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "undoc-members": True}
autodoc_preserve_defaults = True
add_module_names = False
toc_object_entries = False
python_use_unqualified_type_names = True
smartquotes = False  # they make a dash of the -- of options


def _plain(text: str) -> str:
    """Prose as it stands in a docstring, in reStructuredText: `spans` are code, and nothing else means anything."""
    parts = re.split(r"`([^`]+)`", text)
    prose = [re.sub(r"([*|\\_])", r"\\\1", part) for part in parts[::2]]
    code = [f"``{part}``" for part in parts[1::2]]
    pieces = [prose[0]]
    for before, after in zip(code, prose[1:], strict=True):
        pieces += [before, "\\" if after[:1].isalnum() else "", after]
    return "".join(pieces)


def _docstring(app, what, name, obj, options, lines):
    """Paragraphs; those that are indented are code."""
    out = []
    for paragraph in "\n".join(lines).strip("\n").split("\n\n"):
        own = [line for line in paragraph.split("\n") if line.strip()]
        if own and all(line.startswith("  ") for line in own):
            out += ["::", "", *(f"    {line}" for line in own), ""]
        elif own and own[0].startswith("- "):
            out += [*(_plain(line) for line in own), ""]
        else:
            out += [_plain(" ".join(line.strip() for line in own)), ""]
    lines[:] = out


def setup(app):
    app.connect("autodoc-process-docstring", _docstring)
