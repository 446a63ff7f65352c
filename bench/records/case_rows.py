"""The columns of cases.csv, and how its rows are read."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

OLDEST = 6  # of the score columns: those that records have had from the first
_PLACE = ("part", "weights", "case", "patient", "class")
# task -> the columns of cases.csv that hold scores; the others are ids, sizes and outcomes
SCORE_COLUMNS = {
    "segmentation": (
        "dice_strict",
        "dice_transunet",
        "hd95_vox_strict",
        "hd95_vox_transunet",
        "hd95_mm_strict",
        "hd95_mm_transunet",
        *("jaccard_strict", "sensitivity_strict", "precision_strict"),
        *("hd95max_vox_strict", "assd_vox_strict", "nsd_vox_strict"),
        *("hd95max_mm_strict", "assd_mm_strict", "nsd_mm_strict"),
    ),
    "classification": ("reference", "predicted", "probability"),
}
CASE_COLUMNS = {
    "segmentation": (*_PLACE, "outcome", "reference_voxels", "predicted_voxels", *SCORE_COLUMNS["segmentation"]),
    "classification": (*_PLACE, *SCORE_COLUMNS["classification"]),
}


def parse_cases(content: bytes, task: str) -> pd.DataFrame:
    """The rows of a cases.csv, not to be changed; probabilities by Python's own float, which loses no digit."""
    import pandas as pd

    text = dict.fromkeys((*_PLACE, "outcome", "probability"), str)
    blank = {column: [""] for column in CASE_COLUMNS[task] if column not in text}
    frame = pd.read_csv(io.BytesIO(content), dtype=text, keep_default_na=False, na_values=blank)
    lacking = [column for column in (*_PLACE, *SCORE_COLUMNS[task][:OLDEST]) if column not in frame]
    words = [column for column in blank if column in frame and not pd.api.types.is_numeric_dtype(frame[column])]
    if lacking:
        raise ValueError(f"no column {lacking[0]}")
    if frame.empty or words:
        raise ValueError(f"words in the column {words[0]}" if len(frame) else "a header alone")
    return frame.assign(probability=frame["probability"].map(float)) if task == "classification" else frame
