"""The columns of cases.csv by task: where a row belongs, and its scores."""

from __future__ import annotations

OLDEST = 6  # of the score columns: those that records have had from the first
PLACE = ("part", "weights", "case", "patient", "class")
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
    "segmentation": (*PLACE, "outcome", "reference_voxels", "predicted_voxels", *SCORE_COLUMNS["segmentation"]),
    "classification": (*PLACE, *SCORE_COLUMNS["classification"]),
}
