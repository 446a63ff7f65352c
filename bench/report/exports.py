"""What `medbench export` wrote, as a table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.analysis.sheet import Sheet
from bench.runs.exporting import LARGEST, Exported


def export_sheet(exported: Sequence[Exported]) -> Sheet:
    """A row for each file."""
    rows = [
        {
            "File": str(file.path),
            "Form": file.form,
            "Opset": "" if file.opset is None else str(file.opset),
            "Size MB": f"{file.size / 1e6:.2f}",
            "Logits differ by": f"{file.logits:.1e}",
            "Scores differ by": "" if file.scores is None else f"{file.scores:.1e}",
        }
        for file in exported
    ]
    reasons = dict.fromkeys(file.why_not_fused for file in exported if file.why_not_fused)
    notes = (
        f"Largest differences from the network itself, on {exported[0].checked}; over {LARGEST:g} a file is refused.",
        "Scores: Dice of each case and class, or each class's probability.",
        *(f"Training form: {reason}" for reason in reasons),
    )
    return Sheet("Exported, for any number of images at once.", pd.DataFrame(rows), notes, left=("Form",))
