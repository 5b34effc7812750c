"""Files of weights from the Hugging Face hub, kept whole in the cache. We ship none."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from spedge.base.errors import InputError
from spedge.base.files import whole
from spedge.base.paths import cache_dir

#: What weights are called there; the first that a repository has is taken.
FILES = ("model.safetensors", "pytorch_model.bin")
#: OWNER/NAME, at another revision than the newest: OWNER/NAME@REVISION.
_NAME = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*)(?:@([\w-][\w.-]*))?", re.ASCII)
_ENDPOINT = "https://huggingface.co"
_PIECE = 1 << 20
_SECONDS = 30.0  # without a byte

_log = logging.getLogger(__name__)


def is_name(given: str) -> bool:
    """Whether it can be a repository's name."""
    return _NAME.fullmatch(given) is not None


def fetch(name: str) -> Path:
    """The file of a repository's weights: from the cache, else downloaded whole into it.

    HF_ENDPOINT names another hub than huggingface.co. Raises InputError where it cannot be had.
    """
    found = _NAME.fullmatch(name)
    assert found
    repository, revision = found[1], found[2] or "main"
    folder = cache_dir() / "hub" / repository.replace("/", "--") / revision
    for file in FILES:
        if (folder / file).is_file():
            return folder / file
    hub = os.environ.get("HF_ENDPOINT", _ENDPOINT).rstrip("/")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for file in FILES:
            if _download(f"{hub}/{repository}/resolve/{revision}/{file}", folder / file):
                return folder / file
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise InputError(
            f"{name} cannot be had from {hub} ({error}): get {' or '.join(FILES)} of it where there is a network, and "
            "give --start that file."
        ) from None
    raise InputError(f"{hub} has no {' or '.join(FILES)} of {name}: give --start another name, or a file.")


def _download(url: str, path: Path) -> bool:
    """Whether there is such a file; it is at `path` then, whole. Raises OSError for any other end."""
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise OSError(f"{url} is no address of the web")
    digests = _Digests()
    opener = urllib.request.build_opener(digests)
    request = urllib.request.Request(url, headers={"User-Agent": "spedge"})
    try:
        answer = opener.open(request, timeout=_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return False
        raise
    with answer, whole(path) as part, part.open("wb") as file:
        size = int(answer.headers["Content-Length"] or -1)
        digests.look(answer.headers)
        _log.warning("downloading %s (%.0f MB)", url, size / 1e6)
        digest, got = hashlib.sha256(), 0
        while piece := answer.read(_PIECE):
            file.write(piece)
            digest.update(piece)
            got += len(piece)
        if size >= 0 and got != size:
            raise OSError(f"only {got} of {size} bytes came")
        if digests.expected not in ("", digest.hexdigest()):
            raise OSError("what came has another digest than the hub says")
    return True


class _Digests(urllib.request.HTTPRedirectHandler):
    """Follows redirections; the first answer has a large file's SHA-256 as its tag."""

    expected = ""

    def look(self, headers: Any) -> None:
        """Keep the digest that these headers say."""
        tag = str(headers.get("X-Linked-Etag") or "").strip('"')
        if re.fullmatch("[0-9a-f]{64}", tag):
            self.expected = tag

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """As the base class does."""
        self.look(headers)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
