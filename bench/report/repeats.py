"""One set of profiles beside another of the same settings: do the relative throughputs repeat?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from bench.analysis.sheet import Sheet
from bench.errors import UserError
from bench.records.profiles import load_profiles
from bench.report.notes import few
from bench.report.speeds import form_text, sheet

SAME = ["machine", "key"]
OVERLAPPING, MEDIAN_DIFFERENCE = 0.9, 0.05  # of the models at least, and of the ratio at most: what repeats


@dataclass(frozen=True)
class Repeat:
    """What two measurements of the same settings say together.

    Attributes:
        rows: a row per setting: both ratios with their intervals, `overlap`, `difference` (second over first, minus 1).
        alone: settings that only one of the two has.
        notes: what was left out of the two folders, in lines.
    """

    rows: pd.DataFrame
    alone: int
    notes: tuple[str, ...] = ()

    @property
    def overlapping(self) -> float:
        """Share of the settings whose intervals share a value."""
        return float(self.rows["overlap"].mean())

    @property
    def median_difference(self) -> float:
        """Median over settings of the absolute difference, as a fraction."""
        return float(self.rows["difference"].abs().median())

    @property
    def line(self) -> str:
        """Both figures, against what is asked of a repeat."""
        holds = self.overlapping >= OVERLAPPING and self.median_difference <= MEDIAN_DIFFERENCE
        count, both = len(self.rows), int(self.rows["overlap"].sum())
        alone = f"; {self.alone} in one folder alone" if self.alone else ""
        return (
            f"{both} of {count} intervals overlap ({100 * self.overlapping:.0f} %, asked: {100 * OVERLAPPING:.0f} %), "
            f"median absolute difference {100 * self.median_difference:.1f} % (asked: at most "
            f"{100 * MEDIAN_DIFFERENCE:.0f} %): {'it repeats' if holds else 'it does not repeat'}{alone}."
        )


def compare_results(first: Path, second: Path) -> Repeat:
    """The profiles stored in one results folder beside those in another.

    Raises:
        UserError: a folder that is not there, the same one twice, or no setting in both.
    """
    for folder in (first, second):
        if not folder.is_dir():
            raise UserError(f"No results folder {str(folder)!r} to compare.")
    if first.resolve() == second.resolve():
        raise UserError(f"Expected another folder than {str(first)!r} to compare with: its profiles repeat themselves.")
    profiles = load_profiles(first), load_profiles(second)
    notes = tuple(note for frame in profiles for note in frame.attrs["notes"])
    return replace(compare_profiles(*profiles), notes=notes)


def compare_profiles(first: pd.DataFrame, second: pd.DataFrame) -> Repeat:
    """Pairs profiles (`bench.records.profiles.load_profiles`) of equal settings on the same kind of machine.

    Raises:
        UserError: no setting is in both.
    """
    keys = [set(zip(frame["machine"], frame["key"], strict=True)) if len(frame) else set() for frame in (first, second)]
    if not keys[0] & keys[1]:
        raise UserError(
            "Expected two results folders with profiles of the same settings, but none of the first's "
            f"{len(keys[0])} is among the second's {len(keys[1])}: run the same `medbench profile` into each, with "
            "--results."
        )
    columns = ["title", "model", "form", "compiled", "input", "reference_title", "ratio", "low", "high"]
    rows = first[[*SAME, *columns]].merge(second[[*SAME, "ratio", "low", "high"]], on=SAME, suffixes=("", "_again"))
    overlap = (rows["low"] <= rows["high_again"]) & (rows["low_again"] <= rows["high"])
    rows = rows.assign(overlap=overlap, difference=rows["ratio_again"] / rows["ratio"] - 1)
    return Repeat(rows, len(keys[0] ^ keys[1]))


def repeat_table(repeat: Repeat) -> Sheet:
    """A row per setting, and the verdict below."""
    frame = pd.DataFrame(
        {
            "Model": row["title"],
            "Form": form_text(row),
            "Input": row["input"],
            "x": row["reference_title"],
            "first": f"{row['ratio']:.3f} ({row['low']:.3f} to {row['high']:.3f})",
            "second": f"{row['ratio_again']:.3f} ({row['low_again']:.3f} to {row['high_again']:.3f})",
            "overlap": "yes" if row["overlap"] else "no",
            "difference": f"{100 * row['difference']:+.1f} %",
        }
        for row in repeat.rows.to_dict("records")
    )
    caption = "Relative throughput measured twice: the ratio with its 95 % interval, and the second's difference."
    return sheet(caption, (repeat.line, *few(repeat.notes)), frame)
