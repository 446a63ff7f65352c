"""Files that the user names, such as with `--output`: a new folder is made for them, as for what lies in folders."""

from __future__ import annotations

from pathlib import Path

from bench.errors import UserError
from bench.records.store import write_bytes


def write_named(path: Path, content: str | bytes) -> None:
    """Writes the file whole or not at all.

    Raises:
        UserError: it cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}. Name another file.") from None
