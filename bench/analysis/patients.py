"""Whose the cases of a folder of label maps are: told by their names, or by a table."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from bench.analysis.label_folders import some
from bench.datasets.readers.metadata import read_table
from bench.errors import UserError


def patients_of(cases: Sequence[str], regex: str | None, table: Path | None) -> dict[str, str]:
    """Case -> patient; empty where nothing tells.

    Raises:
        UserError: both ways are given, a regular expression that is none, or a case without a patient, or with two.
    """
    if regex is not None and table is not None:
        raise UserError("Expected --patient-regex or --patients, not both.")
    if regex is not None:
        return {case: _matched(regex, case) for case in cases}
    if table is None:
        return {}
    owners = _read_owners(table)
    lacking = [case for case in cases if case not in owners]
    if lacking:
        raise UserError(f"Expected a row in {table} for each case, but there is none of {some(lacking)}.")
    return owners


def _matched(regex: str, case: str) -> str:
    try:
        match = re.search(regex, case)
    except re.error as error:
        raise UserError(
            f"Expected --patient-regex to be a regular expression, but {regex!r} is none: {error}."
        ) from None
    patient = match and (match[1] if match.re.groups else match[0])
    if not patient:
        raise UserError(
            f"Expected --patient-regex {regex!r} to find a patient in each case's name, not so in {case!r}."
        )
    return patient


def _read_owners(table: Path) -> dict[str, str]:
    if not table.exists():
        raise UserError(f"Cannot read {table}: there is no such file.")
    owners: dict[str, str] = {}
    for row in read_table(table, ("case", "patient")):
        case, patient = unicodedata.normalize("NFC", row["case"]), row["patient"]
        if not patient or owners.setdefault(case, patient) != patient:
            raise UserError(f"Expected one patient for each case in {table}, but {case!r} has none, or two.")
    return owners
