"""A cell's rows of cases, packed: `cases.csv.xz` in the place of `cases.csv`, the same bytes in half of git's room.

`python -m bench.records.packed FOLDER` packs those of a folder of records that are to be committed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

from bench.errors import UserError

CASES = "cases.csv"
PACKED = "cases.csv.xz"
LEAST = 200_000  # bytes of a cases.csv that is worth it
MOST = 2**26  # bytes that are unpacked: a foreign file may claim any number


def cases_files(folder: Path) -> list[Path]:
    """The files with a cell's rows that are there: the plain one before the packed one; the plain one if none is."""
    there = [path for name in (CASES, PACKED) if (path := folder / name).exists()]
    return there or [folder / CASES]


def cases_file(folder: Path) -> Path:
    """The file with a cell's rows: `cases.csv`, or `cases.csv.xz` where that alone is there."""
    return cases_files(folder)[0]


def unpacked(content: bytes) -> bytes:
    """What was packed.

    Raises:
        ValueError: it is cut short, is no xz, or holds more than 64 MiB.
    """
    import lzma  # which some builds of Python lack

    reader = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=2**28)
    try:
        text = reader.decompress(content, MOST)
    except (lzma.LZMAError, MemoryError) as error:
        raise ValueError(f"it is no whole xz file ({error})") from None
    if not reader.eof:
        raise ValueError("it is cut short" if reader.needs_input else f"it holds more than {MOST // 2**20} MiB")
    return text


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
        import lzma

        beside = packed.with_name(f"{PACKED}.tmp-{os.getpid()}")
        beside.write_bytes(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))
        beside.replace(packed)
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
            raise UserError("Name a folder of records: python -m bench.records.packed FOLDER.")
        print(f"{sum(pack(Path(name)) for name in folders)} packed")
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
