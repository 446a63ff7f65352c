"""What an audit prints and writes: its figures as text, the pairs as CSV, the worst of them as a picture."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.analysis.sheet import Sheet
from bench.datasets.splits.duplicates import CORRELATION
from bench.records.store import write_text
from bench.report.escaping import csv_cell

if TYPE_CHECKING:
    from bench.datasets.audit.findings import Audit, Picture
    from bench.datasets.base import Prepared
    from bench.datasets.splits.pairs import Pair

Figures = Mapping[str, Any]
_BINS = ((2, 2), (3, 4), (5, 8), (9, 16), (17, 32), (33, 10**9))
_TILE = 128


def audit_text(figures: Figures, problems: Sequence[str]) -> str:
    """The figures, a section a line or a few; `problems` are what verifying the cache found."""
    near, exact = figures["near"], figures["exact"]
    lines = [
        f"audit     {figures['dataset']}, layout {figures['layout']}, fingerprint {figures['fingerprint']}",
        *_balance_lines(figures),
        f"files     {'; '.join(problems) if problems else 'all hashes agree with the manifest; none is broken'}",
        f"exact     {exact['cases']:,} cases in {exact['groups']:,} groups are the same to the last bit",
        _alike(near, figures["pictures"]),
        f"groups    {near['pictures']:,} pictures in {near['groups']:,} groups",
        *_histogram(near["sizes"]),
    ]
    if figures["recall"]:
        lines += [recall_line(figures["recall"])]
    for title, splits in (("splits", figures["splits"]), ("metadata", (figures["metadata"] or {}).get("splits"))):
        lines += [f"{title}, shares of the test part that training has seen:"] if splits else []
        lines += [f"  {name}: {_split_text(split)}" for name, split in (splits or {}).items()]
    lines += _predictor_lines("predictors", figures["predictors"], figures)
    if figures["metadata"]:
        rows = figures["metadata"]
        patients = ", ".join(f"{name} {n:,}" for name, n in rows["patients"].items())
        several, lone = rows["patients in several classes"], rows["files without a row"]
        counts = f"{rows['rows']:,} rows, {rows['rows without a file']:,} without a file, {lone:,} files without a row"
        lines.append(f"metadata  {counts}; patients: {patients}, {several} in several classes")
        lines += _predictor_lines("predictors by the metadata", rows["predictors"], figures)
    return "\n".join(lines)


def _alike(near: Figures, pictures: int) -> str:
    """How many pairs, and of what kind."""
    how = "as discs, turned by multiples of 12 degrees" if near["any angle"] else "in one of 8 orientations"
    return (
        f"alike     {near['pairs']:,} pairs of {pictures:,} pictures correlate at {near['correlation']:g} or more, "
        f"{how}: {near['of one patient']:,} of one patient, {near['across classes']:,} across classes, "
        f"{near['turned or mirrored']:,} turned or mirrored"
    )


def recall_line(recall: Figures) -> str:
    """How much of what the names tell was found without them."""
    pairs, pictures = recall["found"] / recall["pairs"], recall["linked"] / recall["pictures"]
    return (
        f"recall    with names hidden: {recall['found']:,} of {recall['pairs']:,} pairs of one photograph "
        f"({_percent(pairs)}); {recall['linked']:,} of {recall['pictures']:,} pictures linked to another of their "
        f"photograph ({_percent(pictures)}); {_percent(recall['precision'])} of all pairs found are of one photograph"
    )


def _balance_lines(figures: Figures) -> Iterator[str]:
    if "voxels" in figures:
        shown = ", ".join(f"{name} {n}" for name, n in figures["cases with class"].items())
        total = sum(figures["voxels"].values())
        shares = ", ".join(f"{name} {100 * n / total:.2f} %" for name, n in figures["voxels"].items())
        yield f"cases     {figures['cases']:,} of {figures['patients']:,} patients; with each label: {shown}"
        yield f"labels    {shares} of the voxels; no other values"
        return
    yield f"classes   {', '.join(f'{name} {n:,}' for name, n in figures['classes'].items())}"
    several = figures["patients in several classes"]
    yield "patients  unknown" if several is None else f"patients  {figures['patients']:,}, {several} in several classes"


def _histogram(sizes: Mapping[str, int]) -> Iterator[str]:
    """Groups by size, a bar a line; 40 characters are the most frequent."""
    counts = {span: sum(n for size, n in sizes.items() if span[0] <= int(size) <= span[1]) for span in _BINS}
    most = max(counts.values())
    for (low, high), n in counts.items() if most else ():
        size = str(low) if low == high else f"{low}-{high}" if high < 10**9 else f"{low}+"
        yield f"  {size:>6} {n:>6} {'#' * round(40 * n / most)}"


def _split_text(split: Figures) -> str:
    parts = [f"{split['test']:,} test cases"]
    for key, name in (
        ("patient", "patient"), ("photograph", "same photograph"), ("near_duplicate", "near-duplicate"),
    ):  # fmt: skip
        if split.get(key) is not None:
            parts.append(f"{name} {_percent(split[key])}")
    if split.get("validation"):
        parts.append(f"in validation, or like or of a patient there, {_percent(split['validation'])}")
    return ", ".join(parts) + (f"; {split['flag']}" if split["flag"] else "")


def _predictor_lines(title: str, predictors: Mapping[str, float], figures: Figures) -> list[str]:
    if not predictors:
        return []
    ranked = sorted(predictors.items(), key=lambda pair: -pair[1])
    chance = _percent(1 / len(figures["classes"]))
    shown = ", ".join(f"{name} {_percent(accuracy)}" for name, accuracy in ranked)
    return [f"{title}, balanced accuracy on other patients without the picture (chance {chance}): {shown}"]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


# -- files ---------------------------------------------------------------------------------------------------


@contextmanager
def pairs_file(folder: Path) -> Iterator[Callable[[Pair, Picture, Picture], object]]:
    """Yields the function that adds a pair to `pairs.csv`, as the audit finds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("one", "two", "correlation", "degrees", "mirrored", "one_patient", "two_patient"))

        def add(pair: Pair, first: Picture, second: Picture) -> None:
            row = (first.name, second.name, f"{pair.correlation:.4f}", pair.degrees, int(pair.mirrored))
            table.writerow(map(csv_cell, (*row, first.patient, second.patient)))

        yield add


def write_audit(folder: Path, prepared: Prepared, audit: Audit) -> list[Path]:
    """Writes `audit.json` and, where there are pairs, `contact-sheet.png`, beside `pairs.csv`; returns all of them.

    The sheet shows pixels of the data set: what its licence says holds for it.
    """
    write_text(folder / "audit.json", json.dumps(audit.figures, indent=1) + "\n")
    written = [folder / "audit.json", folder / "pairs.csv"]
    if audit.worst:
        _contact_sheet(prepared, audit).save(folder / "contact-sheet.png")
        written.append(folder / "contact-sheet.png")
    return written


def _contact_sheet(prepared: Prepared, audit: Audit) -> Any:
    """The worst pairs side by side, three a row, with their names and correlation."""
    from PIL import Image, ImageDraw

    columns, cell = 3, (2 * _TILE + 12, _TILE + 30)
    rows = -(-len(audit.worst) // columns)
    sheet = Image.new("RGB", (columns * cell[0], rows * cell[1]), "white")
    pen = ImageDraw.Draw(sheet)
    for k, (pair, first, second) in enumerate(audit.worst):
        x, y = k % columns * cell[0], k // columns * cell[1]
        for i, picture in enumerate((first, second)):
            sheet.paste(_tile(prepared, picture.name, picture.case), (x + i * (_TILE + 2), y))
        turned = f", turned {pair.degrees} deg" * (pair.degrees > 0) + ", mirrored" * pair.mirrored
        pen.text((x, y + _TILE + 2), f"{first.name[:20]} | {second.name[:20]}", fill="black")
        pen.text((x, y + _TILE + 14), f"{pair.correlation:.3f}{turned}", fill="black")
    return sheet


def _tile(prepared: Prepared, name: str, case: int) -> Any:
    import numpy as np
    from PIL import Image

    from bench.datasets.splits.duplicates import grey_levels

    array = np.asarray(prepared.image(case))
    if prepared.spec.task == "segmentation":
        array = grey_levels(array[int(name[name.rindex("[") + 1 : -1])])
    image = Image.fromarray(array[0]) if len(array) == 1 else Image.fromarray(array.transpose(1, 2, 0))
    return image.convert("RGB").resize((_TILE, _TILE))


# -- the table of leaks --------------------------------------------------------------------------------------


SPLITS = (
    *("data set", "split", "test", "same patient", "same photograph", "near-duplicate", "seen in validation"),
    "label without the picture",
)


def leaks_sheet(audits: Sequence[Figures]) -> Sheet:
    """A row for each split of each audited data set, and what predicts the label best without the picture."""
    return Sheet(
        "Leaks: shares of the test part that training has seen, and what tells the label without the picture.",
        pd.DataFrame(_split_rows(audits), columns=list(SPLITS)),
        tuple(
            f"{_row_title(figures, False, audits)}: {recall_line(found)[10:]}"
            for figures in audits
            if (found := figures["recall"])
        ),
        name="leaks",
        left=("split", "label without the picture"),
        details=("label without the picture", "same photograph", "seen in validation"),
    )


def _split_rows(audits: Sequence[Figures]) -> Iterator[tuple[str, ...]]:
    """Texts of the columns `SPLITS`; a data set is named in its first row."""
    for figures in audits:
        metadata = figures["metadata"] or {}
        whole = not figures["splits"] and bool(metadata)
        splits = metadata["splits"] if whole else figures["splits"]
        predictors = metadata.get("predictors") or figures["predictors"]
        best = max(predictors.items(), key=lambda pair: pair[1], default=None)
        for i, (name, split) in enumerate(splits.items()):
            shares = (_percent(split.get(key)) for key in ("patient", "photograph", "near_duplicate", "validation"))
            predictor = (
                f"{best[0]} {_percent(best[1])} (chance {_percent(1 / len(figures['classes']))})" if best else "-"
            )
            dataset = _row_title(figures, whole, audits) if i == 0 else ""
            flag = " (flagged)" if split["flag"] else ""
            yield (dataset, f"{name}{flag}", f"{split['test']:,}", *shares, predictor if i == 0 else "")


def _row_title(figures: Figures, metadata: bool, audits: Sequence[Figures]) -> str:
    """The data set, with its number of pictures where other files of it were audited too, and how it was audited."""
    near = figures["near"]
    how = " (any angle)" if near["any angle"] else ""
    how += "" if near["correlation"] == CORRELATION else f" (correlation {near['correlation']:g})"
    prepared = {other["fingerprint"] for other in audits if other["dataset"] == figures["dataset"]}
    size = f", {figures['pictures']:,} pictures" if len(prepared) > 1 else ""
    return f"{figures['dataset']}{size}{' (metadata)' if metadata else how}"
