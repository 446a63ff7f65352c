"""A cell's rows of cases, packed: `cases.csv.xz` in the place of `cases.csv`, the same bytes in half of git's room.

What finds and reads them; `bench.records.packing` makes them.
"""

from __future__ import annotations

from pathlib import Path

CASES = "cases.csv"
PACKED = "cases.csv.xz"
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
