"""Metadata that come as .csv, in whatever encoding a spreadsheet left them."""

from __future__ import annotations

import codecs
import csv
import io
from pathlib import Path

from bench.datasets.readers.files import read_whole, readable
from bench.errors import UserError

_NOTHING = ("nan", "na", "none", "null")


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
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text, columns), strict=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in line]) for line in reader]
    except csv.Error as error:
        raise UserError(f"Table {path} cannot be read, copy it anew. (line {reader.line_num}: {error})") from error
    (_, header), *body = [line for line in lines if any(line[1])] or [(1, [])]
    missing = [column for column in columns if column not in header]
    if missing:
        raise UserError(f"Expected the columns {', '.join(columns)} in {path}, but {', '.join(missing)} is missing.")
    repeated = [column for column in columns if header.count(column) > 1]
    if repeated:
        raise UserError(f"Expected each column once in {path}, but {repeated[0]} is there twice.")
    if not body:
        raise UserError(f"Expected rows in {path}, but it has only its header.")
    rows = []
    for number, line in body:
        rows.append(dict(zip(header, line, strict=False)))
        if not rows[-1].keys() >= set(columns):
            raise UserError(f"Expected {', '.join(columns)} in every row of {path}, but line {number} is cut short.")
    return rows


def said(text: str) -> str:
    """What a cell says; empty where it has the word that programs write where nothing is known, in any case."""
    return "" if text.lower() in _NOTHING else text


def table_columns(path: Path) -> list[str]:
    """The column names of a table, parted by whichever of comma, semicolon and tab gives the most.

    Raises:
        UserError: unreadable, empty, or no table.
    """
    with readable(path):
        header = _first_line(_decoded(read_whole(path)))
    rows: list[list[str]] = []
    for delimiter in ",;\t":
        try:
            rows += csv.reader([header], delimiter=delimiter)
        except csv.Error as error:  # a field of 131,072 characters or more
            reason = str(error)
    if header and not rows:
        raise UserError(f"Table {path} cannot be read, copy it anew. (line 1: {reason})")
    return [cell.strip() for cell in max(rows, key=len, default=[])]


def _decoded(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _first_line(text: str) -> str:
    """The first line with any text, whichever system's its end is."""
    return io.StringIO(text.lstrip(), newline=None).readline().removesuffix("\n")


def _delimiter(text: str, columns: tuple[str, ...]) -> str:
    """The first of comma, semicolon and tab that parts all columns from each other in the first line."""
    header = _first_line(text)
    for delimiter in ",;\t":
        if {cell.strip().strip('"') for cell in header.split(delimiter)}.issuperset(columns):
            return delimiter
    return ","
