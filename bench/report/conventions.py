"""What the conventions of segmentation metrics do to one and the same predictions: means side by side, and ranks."""

from __future__ import annotations

import math

from bench.report.certainty import Measure

# Every figure that cases.csv holds, under the name that says its convention.
MEASURES = (
    Measure("Dice % (strict)", "dice_strict", 100.0, 1, most=100.0),
    Measure("Dice % (transunet)", "dice_transunet", 100.0, 1, most=100.0),
    Measure("Jaccard % (strict)", "jaccard_strict", 100.0, 1, most=100.0),
    Measure("Sensitivity % (strict)", "sensitivity_strict", 100.0, 1, most=100.0),
    Measure("Precision % (strict)", "precision_strict", 100.0, 1, most=100.0),
    *(
        Measure(f"{name} ({said.format(unit=unit)})", column.format(unit=unit), factor, merit, most=most)
        for unit, reach in (("vox", "1 vox"), ("mm", "2 mm"))
        for name, said, column, factor, merit, most in (
            ("HD95", "{unit}, pooled, strict", "hd95_{unit}_strict", 1.0, -1, math.inf),
            ("HD95", "{unit}, pooled, transunet", "hd95_{unit}_transunet", 1.0, -1, math.inf),
            ("HD95", "{unit}, max, strict", "hd95max_{unit}_strict", 1.0, -1, math.inf),
            ("ASSD", "{unit}, strict", "assd_{unit}_strict", 1.0, -1, math.inf),
            ("NSD %", f"within {reach}, strict", "nsd_{unit}_strict", 100.0, 1, 100.0),
        )
    ),
)
