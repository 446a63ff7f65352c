"""What of a data set belongs together: a patient's cases, equal images, near-duplicates of unknown patients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.datasets.splits.duplicates import join
from bench.datasets.splits.overlap import patients_known

if TYPE_CHECKING:
    from bench.datasets.base import Prepared

UNIT = "groups of near-duplicates (patients unknown)"
UNKNOWN = "patients unknown"


def kept_together(prepared: Prepared) -> dict[str, str]:
    """Case -> its patient, or the first of those that share an image; with near-duplicates of whom nobody knows.

    One photograph under two patients' names would else train and test.
    """
    together: dict[tuple[str, str], list[int]] = {}
    for i, (case, entry) in enumerate(zip(prepared.cases, prepared.manifest["cases"], strict=True)):
        together.setdefault(("patient", case.patient), []).append(i)
        together.setdefault(("image", entry["image_sha256"]), []).append(i)
    position = {case.case: i for i, case in enumerate(prepared.cases)}
    nameless = {case.case for case in prepared.cases if case.patient == case.case}
    near = [group for group in prepared.manifest.get("groups") or [] if not nameless.isdisjoint(group)]
    alike = [*together.values(), *([position[name] for name in group] for group in near)]
    cases = prepared.cases
    return {cases[i].case: cases[members[0]].patient for members in join(len(cases), alike) for i in members}


def doubt(prepared: Prepared) -> str:
    """What a caption says of the patients: that none, or so many cases' patients, are unknown; "" where all are known.

    A volume is taken as one patient's, as the literature does.
    """
    cases = prepared.cases
    if prepared.spec.task == "segmentation" and any(case.shape[0] > 1 for case in cases):
        return ""
    if not patients_known(cases):
        return UNKNOWN
    nameless = sum(case.patient == case.case for case in cases)
    return f"patients of {nameless} of {len(cases)} cases unknown" if nameless else ""
