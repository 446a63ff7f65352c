"""A cell's rows of cases, packed: `cases.csv.xz` in the place of `cases.csv`, the same bytes in half of git's room.

`python -m bench.records.packed FOLDER` packs those of a folder of records that are to be committed.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import sys
from pathlib import Path

CASES = "cases.csv"
SUFFIX = ".xz"
LEAST = 200_000  # bytes of a cases.csv that is worth it
MOST = 2**30  # bytes that are unpacked: more is no cases.csv of ours


def cases_file(folder: Path) -> Path:
    """The file with a cell's rows: `cases.csv`, or `cases.csv.xz` where that alone is there."""
    plain = folder / CASES
    packed = plain.with_name(CASES + SUFFIX)
    return packed if packed.exists() and not plain.exists() else plain


def unpacked(content: bytes) -> bytes:
    """What was packed.

    Raises:
        ValueError: it is cut short, is no xz, or holds more than a GiB.
    """
    reader = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=2**28)
    try:
        text = reader.decompress(content, MOST)
    except lzma.LZMAError as error:
        raise ValueError(f"it is no whole xz file: {error}") from None
    if not reader.eof:
        raise ValueError("it is cut short" if reader.needs_input else "it holds more than a GiB")
    return text


def pack(folder: Path) -> int:
    """Packs each large `cases.csv` below a folder that is the one of its record; how many it were.

    A file that is not what its record was written with stays as it is.
    """
    count = 0
    for record in sorted(folder.rglob("record.json")):
        path = record.with_name(CASES)
        content = path.read_bytes() if path.is_file() else b""
        sha256 = json.loads(record.read_text(encoding="utf-8")).get("cases_sha256")
        if len(content) >= LEAST and hashlib.sha256(content).hexdigest() == sha256:
            path.with_name(CASES + SUFFIX).write_bytes(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))
            path.unlink()
            count += 1
    return count


if __name__ == "__main__":
    print(f"{sum(pack(Path(name)) for name in sys.argv[1:])} packed")
