"""Rows of cells and cases as an ablation reads them, of ACDC's patients on one comparison key."""

from __future__ import annotations

from typing import Any

import numpy as np


def a_cell(model: str, seed: int, params: float, macs: float, version: int) -> dict[str, Any]:
    """A complete cell."""
    return {
        "key": f"{model}-{seed}-{version}",
        "comparison": "c0ffee123456",
        "status": "complete",
        "preset": "quick",
        "task": "segmentation",
        "dataset": "acdc",
        "dataset_title": "ACDC",
        "source": "real",
        "split": "ssl4mis",
        "fold": None,
        "seed": seed,
        "model": model,
        "version": version,
        "title": "MedNeXt-T (reconstr.)",
        "family": "proposed",
        "params": params,
        "macs": macs,
        "input": "1x1x128x128",
        "counts": {"test": {"present_patients": 12, "official_patients": 20, "cases": 12}},
        "partial": False,
        "selection": "best-val",
        "policy": "strict",
        "threads": 2,
        "images_seen": 48_000,
        "averaged": False,
        "tuned": None,
        "init": None,
        "device": "cpu",
        "cpu": "AMD EPYC",
        "torch": "2.15.0",
        "commit": "c0ffee",
    }


def a_case(key: str, patient: int, dice: float, name: str = "RV") -> dict[str, Any]:
    """The row of one class of a test case, its Dice in %."""
    return {
        "key": key,
        "part": "test",
        "weights": "best-val",
        "class": name,
        "case": f"p{patient}_ED",
        "patient": f"p{patient}",
        "dice_strict": dice / 100,
        "hd95_vox_strict": 5.0,
        "hd95_mm_strict": np.nan,
    }
