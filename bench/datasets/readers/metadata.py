"""Metadata that come as .csv, in whatever encoding a spreadsheet left them."""

from __future__ import annotations

import codecs
import csv
import io
from pathlib import Path

from bench.datasets.readers.files import read_whole, readable
from bench.errors import UserError


def read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a table as column -> text, blanks around both dropped, and rows without any text passed over.

    UTF-8, or UTF-16 with its byte-order mark, else Windows-1252; parted by commas, or by the semicolons or tabs that a
    spreadsheet writes where commas stand in numbers.

    Args:
        columns: those that have to be there.

    Raises:
        UserError: unreadable, without rows, without one of the columns, or with a row that is cut short.
    """
    with readable(path):
        content = read_whole(path)
    text = _decoded(content)
    first = text.partition("\n")[0]
    parted = next((mark for mark in ",;\t" if all(_has(first, mark, column) for column in columns)), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=parted, strict=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in line]) for line in reader]
    except csv.Error as error:
        raise UserError(f"Table {path} cannot be read, copy it anew. (line {reader.line_num}: {error})") from error
    header, *body = [line for line in lines if any(line[1])] or [(1, [])]
    missing = [column for column in columns if column not in header[1]]
    if missing:
        raise UserError(f"Expected the columns {', '.join(columns)} in {path}, but {', '.join(missing)} is missing.")
    twice = next((column for column in columns if header[1].count(column) > 1), None)
    if twice:
        raise UserError(f"Expected each column once in {path}, but {twice} is there twice.")
    rows = [dict(zip(header[1], line, strict=False)) for _, line in body]
    if not rows:
        raise UserError(f"Expected rows in {path}, but it has only its header.")
    short = next((n for (n, _), row in zip(body, rows, strict=True) if not row.keys() >= set(columns)), None)
    if short:
        raise UserError(f"Expected {', '.join(columns)} in every row of {path}, but line {short} is cut short.")
    return rows


def _decoded(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _has(line: str, mark: str, column: str) -> bool:
    return column in [cell.strip().strip('"') for cell in line.split(mark)]
