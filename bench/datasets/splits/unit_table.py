"""What counts as one in an interval, where a patient is unknown or stands under several names.

A data set's `units` function says which of its cases belong together; the table that is made here is all that a report
needs of the prepared data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.datasets.splits.grouping import UNIT, kept_together
from bench.datasets.splits.overlap import patients_known

if TYPE_CHECKING:
    from bench.datasets.base import Prepared


def unit_table(prepared: Prepared, label: str) -> dict[str, Any] | None:
    """`dataset`, `fingerprint`, `unit` (what one is, in words), `cases` (case -> unit, where it is not its patient).

    Args:
        label: what results call the data set.

    Returns:
        None where the unit is the patient as the cases have it.
    """
    spec = prepared.spec
    if spec.units is not None:
        unit_of, unit = spec.units(prepared), spec.unit
    elif spec.is_divided_here and "groups" in prepared.manifest and not patients_known(prepared.cases):
        unit_of, unit = kept_together(prepared), UNIT
    else:
        return None
    cases = {case.case: unit_of[case.case] for case in prepared.cases if unit_of[case.case] != case.patient}
    return {"dataset": label, "fingerprint": prepared.fingerprint, "unit": unit, "cases": cases}
