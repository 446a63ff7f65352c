"""What `medbench data add` says: how the user's files were understood, and what stands twice among them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bench.datasets.splits.overlap import patients_known

if TYPE_CHECKING:
    from bench.datasets.base import Prepared
    from bench.datasets.own.adding import Understood

SHOWN = 12  # classes that are listed
CROWDED = 0.25  # of all images in one group; our choice
_CHANNELS = {1: "grey", 3: "in colour"}


def understood_text(understood: Understood) -> str:
    """A line for each thing that was recognised, and where another option would change it."""
    from bench.datasets.own.description import LAYOUTS

    description, found = understood.description, understood.found
    what = "images" if found.task == "classification" else "cases"
    lines = [
        f"understood {LAYOUTS[found.layout]} in {description.source}",
        f"task       {found.task}, {len(found.items):,} {what}, {_CHANNELS[description.channels]}",
        f"classes    {_classes(understood)}",
        f"patients   {_patients(understood)}",
        f"parts      {_parts(understood)}",
        *(f"note       {note}" for note in found.notes),
    ]
    return "\n".join(lines)


def _classes(understood: Understood) -> str:
    description, found = understood.description, understood.found
    counts = Counter(item.label for item in found.items)
    values = description.values or {}
    words = []
    for k, name in enumerate(found.classes):
        stands = f" (= {values[name]})" if values.get(name, name) != name else ""
        masks = f" in {found.holding[k]:,}" if found.holding else ""
        words.append(f"{k} {name}{stands}{masks}" + (f" {counts[k]:,}" if found.task == "classification" else ""))
    of_all = f" of {len(found.items):,} masks" if found.holding else ""
    shown, rest = f"{', '.join(words[:SHOWN])}{of_all}", range(SHOWN, len(words))
    if not rest:
        return shown
    held = [k for k in rest if k < len(found.holding) and found.holding[k]]
    fewest = f", such as {words[min(held, key=lambda k: found.holding[k])]}" if held else ""
    return f"{shown} and {len(rest)} more{fewest}"


def _patients(understood: Understood) -> str:
    description, items = understood.description, understood.found.items
    known = {item.patient for item in items if item.patient}
    if not known:
        volumes = any(item.image.is_dir() or ".nii" in item.image.name.lower() for item in items)
        alone = "each volume is taken as one" if volumes else "near-duplicates are kept together"
        return f"unknown, {alone}; --patients CSV or --patient-pattern REGEX names them"
    origin = "by the pattern" if description.patient_pattern else "by the table"
    first = next(item for item in items if item.patient)
    lone = sum(not item.patient for item in items)
    rest = f"; {lone} cases without one are their own" if lone else ""
    return f"{len(known):,} {origin}, such as {first.patient} of {first.case}{rest}"


def _parts(understood: Understood) -> str:
    description, items = understood.description, understood.found.items
    if not description.split and not description.has_parts:
        return "dealt by `patient`, about 60/15/25 %; --split CSV gives others, --folds N cross-validates"
    counts = Counter(item.part for item in items)
    listed = ", ".join(f"{part} {counts[part]:,}" for part in ("train", "val", "test"))
    lost = f"; {counts[None]:,} in none" if counts[None] else ""
    return f"{listed}{lost} ({'by the table' if description.split else 'as the files have them'}: split `given`)"


def doubts_text(prepared: Prepared) -> list[str]:
    """The lines on what a user should know of the prepared images before results are believed."""
    return [*_twice(prepared), *_crowded(prepared)]


def _crowded(prepared: Prepared) -> list[str]:
    """A line where near-duplicates hang together so widely that the parts cannot be dealt well."""
    groups = prepared.manifest.get("groups") or []
    largest, total = max(map(len, groups), default=0), len(prepared.cases)
    if largest <= CROWDED * total or patients_known(prepared.cases):
        return []
    line = f"note       {largest} of {total} images hang together by near-duplicates and stay in one part"
    return [f"{line}: name the patients, or give a --split"]


def _twice(prepared: Prepared) -> list[str]:
    """A line where images are there more than once, byte for byte; of different classes it is a contradiction."""
    by_hash: dict[str, list[int]] = {}
    for i, entry in enumerate(prepared.manifest["cases"]):
        by_hash.setdefault(entry["image_sha256"], []).append(i)
    same = [group for group in by_hash.values() if len(group) > 1]
    if not same:
        return []
    cases = prepared.cases
    mixed = [group for group in same if len({cases[i].label for i in group}) > 1]
    first = (mixed or same)[0]
    shown = " and ".join(repr(cases[i].case) for i in first[:2])
    across = f", {len(mixed)} of them in several classes: one label is wrong" if mixed else ""
    return [f"twice      {sum(map(len, same))} images are {len(same)} in truth{across}, such as {shown}"]
