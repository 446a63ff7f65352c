"""Metadata that come as .csv, in whatever encoding a spreadsheet left them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from bench.datasets.readers.files import readable
from bench.errors import UserError


def read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a table as column -> text; UTF-8 with or without a byte-order mark, else Windows-1252.

    Args:
        columns: those that have to be there.

    Raises:
        UserError: unreadable, without rows, without one of the columns, or with a row that is cut short.
    """
    with readable(path):
        content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise UserError(f"Table {path} cannot be read, copy it anew. (line {reader.line_num}: {error})") from error
    missing = [column for column in columns if column not in (reader.fieldnames or ())]
    if missing:
        raise UserError(f"Expected the columns {', '.join(columns)} in {path}, but {', '.join(missing)} is missing.")
    if not rows:
        raise UserError(f"Expected rows in {path}, but it has only its header.")
    short = next((i for i, row in enumerate(rows, 2) if any(row[column] is None for column in columns)), None)
    if short:
        raise UserError(f"Expected {', '.join(columns)} in every row of {path}, but row {short} is cut short.")
    return rows
