"""Packs the large rows of cases of records that are to be committed: `python -m bench.records.packing FOLDER`."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from bench.errors import UserError
from bench.records.packed import CASES, MOST, PACKED, unpacked
from bench.records.store import write_bytes

LEAST = 200_000  # bytes of a cases.csv that is worth it


def pack(folder: Path) -> int:
    """Packs each large `cases.csv` below a folder that is the one of its record; how many it were.

    What is not the record's, is a link, or is packed already, stays as it is; a packed file beside the record's own
    small rows, which an older run left, goes.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"No folder {str(folder)!r}: name one of records.")
    return sum(_pack(record.parent) for record in sorted(folder.rglob("record.json")))


def _pack(cell: Path) -> bool:
    plain, packed = cell / CASES, cell / PACKED
    if not plain.is_file() or plain.is_symlink():
        return False
    content = plain.read_bytes()
    if hashlib.sha256(content).hexdigest() != _named_in(cell / "record.json"):
        return False
    if not LEAST <= len(content) <= MOST:
        packed.unlink(missing_ok=True)
        return False
    if not _holds(packed, content):
        import lzma  # which some builds of Python lack

        write_bytes(packed, lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))
    plain.unlink()
    return True


def _named_in(record: Path) -> str | None:
    """The hash of the rows that a record names; None where it is damaged."""
    try:
        return str(json.loads(record.read_text(encoding="utf-8"))["cases_sha256"])
    except (ValueError, KeyError, TypeError):
        return None


def _holds(packed: Path, content: bytes) -> bool:
    try:
        return packed.is_file() and unpacked(packed.read_bytes()) == content
    except ValueError:
        return False


def main(folders: list[str]) -> None:
    """Packs the records of folders, by their paths, and prints how many."""
    try:
        if not folders:
            raise UserError("Name a folder of records: python -m bench.records.packing FOLDER.")
        print(f"{sum(pack(Path(name)) for name in folders)} packed")
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
