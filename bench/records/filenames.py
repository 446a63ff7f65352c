"""Texts that users choose (names of models, studies, methods, data sets) as names of files and folders."""

from __future__ import annotations

import hashlib
import re

from bench.errors import UserError

TUNING, DEVELOPMENT = "tuning", "development"  # folders of cells that choose something, which are no results
LONGEST = 140  # bytes; some file systems (eCryptfs) take 143, and endings are added to it
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # Windows


def file_name(text: str) -> str:
    """One part of a path that reads as the text does: no separators, no `..`, no leading dot, at most `LONGEST` bytes.

    What is no such name ends in a hash of the whole, so that two texts never share a file; the rest is left as it is.
    """
    name = re.sub(r"[^\w.,=()\[\]-]|\.\.|^[.-]|\.$", "_", text) or "_"
    name = f"_{name}" if RESERVED.match(name) else name
    encoded = name.encode()
    if name == text and len(encoded) <= LONGEST:
        return name
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{encoded[: LONGEST - 9].decode(errors='ignore')}-{digest}"


def folder_name(kind: str, text: str) -> str:
    """The name of a data set or a model as a folder of results.

    Raises:
        UserError: no results are looked for in a folder of that name.
    """
    if text in (TUNING, DEVELOPMENT):
        raise UserError(f"A {kind} cannot be called {text!r}: its records would stand in no table. Rename it.")
    return file_name(text)
