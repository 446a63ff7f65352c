"""Two sets of profiles of the same settings: overlap, difference, and the verdict."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from speed_rows import row

from bench.errors import UserError
from bench.report.repeats import compare_profiles, repeat_table
from bench.report.sheets import to_markdown


def rows(*intervals: tuple[float, float, float]) -> pd.DataFrame:
    """Profiles of settings 0, 1, ...: (low, ratio, high) each."""
    made: list[dict[str, Any]] = [
        {**row(f"Net {i}"), "key": f"{i:012d}", "low": low, "ratio": ratio, "high": high}
        for i, (low, ratio, high) in enumerate(intervals)
    ]
    return pd.DataFrame(made)


def test_every_setting_stands_with_both_ratios_and_the_verdict_below() -> None:
    first, second = rows((1.9, 2.0, 2.1), (0.9, 1.0, 1.1)), rows((2.05, 2.1, 2.2), (1.2, 1.3, 1.4), (1, 1, 1))
    repeat = compare_profiles(first, second)
    assert list(repeat.rows["overlap"]) == [True, False]
    assert list(repeat.rows["difference"]) == pytest.approx([0.05, 0.3])
    assert (repeat.overlapping, repeat.median_difference) == (0.5, pytest.approx(0.175))
    lines = to_markdown(repeat_table(repeat)).splitlines()
    assert lines[4].endswith(
        "| 8x3x224x224 | ResNet-18 | 2.000 (1.900 to 2.100) | 2.100 (2.050 to 2.200) | yes | +5.0 % |"
    )
    assert lines[5].endswith("| no | +30.0 % |")
    assert lines[-1] == (
        "- 1 of 2 intervals overlap (50 %, asked: 90 %), median absolute difference 17.5 % (asked: at most 5 %): "
        "it does not repeat; 1 in one folder alone."
    )


def test_what_repeats_says_so() -> None:
    same = rows(*[(1.9, 2.0, 2.1)] * 10)
    other = rows(*[(1.95, 2.04, 2.15)] * 9, (3.0, 3.1, 3.2))
    assert compare_profiles(same, other).line == (
        "9 of 10 intervals overlap (90 %, asked: 90 %), median absolute difference 2.0 % (asked: at most 5 %): "
        "it repeats."
    )
    assert "it does not repeat" in compare_profiles(same, rows(*[(1.8, 2.2, 2.3)] * 10)).line


def test_touching_intervals_overlap_and_the_order_does_not_matter() -> None:
    first, second = rows((1.0, 1.1, 1.2)), rows((1.2, 1.3, 1.4))
    assert compare_profiles(first, second).overlapping == compare_profiles(second, first).overlapping == 1


def test_other_machines_and_other_settings_are_no_repeat() -> None:
    first = rows((1, 1, 1))
    for other in (first.assign(machine="another"), first.assign(key="f" * 12), pd.DataFrame()):
        with pytest.raises(UserError, match="none of the first's 1 is among the second's"):
            compare_profiles(first, other)
