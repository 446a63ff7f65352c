"""What the data commands print: which datasets there are, what one is, what was prepared."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bench.analysis.sheet import Sheet
from bench.datasets.base import cache_name
from bench.datasets.splits.overlap import patients_known
from bench.errors import UserError
from bench.zoo.registry import dataset_names, dataset_spec, own_names

if TYPE_CHECKING:
    from bench.datasets.base import DatasetSpec, Prepared


def list_sheet(data_root: str | None) -> Sheet:
    """One row per dataset, with what is prepared of it under the root."""
    from bench.datasets.cache.prepared import open_prepared, resolve_root

    root, _ = resolve_root(data_root, must_exist=False)
    rows = []
    for name in (*dataset_names(), *own_names(data_root)):
        try:
            spec = dataset_spec(name, data_root)
        except UserError as error:  # a description that was edited
            rows.append((name, "", "", "", "", f"broken: {error}"))
            continue
        try:
            prepared = _counts(open_prepared(spec, root, "real")) if (root / name).exists() else "no"
        except UserError:
            prepared = "broken, see `medbench data verify`"
        prepared += "".join(f"; phantoms: {text}" for text in _phantoms(spec, root))
        rows.append((name, spec.title, spec.task, ", ".join(spec.classes), spec.licence, prepared))
    columns = ["name", "title", "task", "classes", "licence", "prepared"]
    return Sheet(
        f"datasets (prepared ones under {root})",
        pd.DataFrame(rows, columns=columns),
        left=tuple(columns),
        details=("licence", "classes", "title"),
    )


def info_text(name: str, data_root: str | None) -> str:
    """A dataset's description, the steps to get it, its splits, and what is prepared of it."""
    from bench.datasets.cache.prepared import open_prepared, resolve_root

    spec = dataset_spec(name, data_root)
    root, _ = resolve_root(data_root, must_exist=False)
    steps = [_under_root(step, data_root) if "medbench data" in step else step for step in spec.how_to_get]
    lines = [
        f"{spec.title}{f' ({spec.name})' if spec.title != spec.name else ''}: {spec.task}, {spec.channels} channel(s)",
        f"classes   {', '.join(f'{i} {c}' for i, c in enumerate(spec.classes))}",
        f"citation  {spec.citation}",
        f"licence   {spec.licence}",
        f"homepage  {spec.homepage}",
        *([f"note      {spec.note}"] if spec.note else []),
        "how to get it",
        *(f"  {i}. {step}" for i, step in enumerate(steps, 1)),
        "splits" if spec.split_functions or spec.is_divided_here else "splits by patient",
        *(f"  {split}: {_split_text(spec, split)}" for split in spec.splits),
    ]
    phantoms = [f"phantoms  {root / cache_name(spec, 'phantom')}: {text}" for text in _phantoms(spec, root)]
    if (root / name).exists():
        return "\n".join([*lines, prepared_text(open_prepared(spec, root, "real")), *phantoms])
    command = _under_root(f"medbench data prepare {name} --from DIR", data_root)
    return "\n".join([*lines, f"prepared  no: run `{command}`", *phantoms])


def _phantoms(spec: DatasetSpec, root: Path) -> list[str]:
    """How many phantoms lie under the root, as `doctor` counts them; nothing where none were drawn."""
    from bench.datasets.cache.prepared import open_prepared

    if not (root / cache_name(spec, "phantom")).exists():
        return []
    try:
        return [f"{len(open_prepared(spec, root, 'phantom').cases)} cases"]
    except UserError:
        return [f"broken, see `medbench data verify {spec.name} --data phantom`"]


def _under_root(command: str, data_root: str | None) -> str:
    """A command, or a step that ends in one, with the data root that the user gave, if one was given."""
    return command + (f" --data-root {shlex.quote(data_root)}" if data_root else "")


def added_text(prepared: Prepared, data_root: str | None) -> str:
    """Where a description lies and the command to go on with, on the first split that can be used, if there is one."""
    name, spec = prepared.spec.name, prepared.spec
    line, default = f"described  {prepared.folder.parent / name}.toml", spec.default_split[prepared.layout]
    for split in (default, *(other for other in spec.splits if other != default)):
        if _is_usable(prepared, split):
            command = f"medbench run --models mednext_tiny --dataset {name} --preset smoke"
            command += "" if split == default else f" --split {split}"
            return f"{line}; next: {_under_root(command, data_root)}"
    return f"{line}; no split of it can be used yet"


def _is_usable(prepared: Prepared, split: str) -> bool:
    """Whether a split can be made of what is present."""
    from bench.datasets.splits.assignment import make_split

    try:
        make_split(prepared.spec, prepared, split)
    except UserError:
        return False
    return True


def _split_text(spec: DatasetSpec, name: str) -> str:
    """A split's sizes, where it is a list, the layouts whose default it is, and how it came about."""
    from bench.datasets.splits.assignment import load_split
    from bench.datasets.splits.by_patient import NOTES

    if name in spec.split_functions or spec.is_divided_here:
        default = "default; " if name in spec.default_split.values() else ""
        return f"{default}{spec.split_notes.get(name) or NOTES.get(name, 'not described')}"
    split = load_split(spec.name, name)
    sizes = ", ".join(f"{len(patients)} {part}" for part, patients in split.parts.items())
    layouts = [layout for layout, default in spec.default_split.items() if default == name]
    default = "default" if len(layouts) == len(spec.default_split) else f"default for {', '.join(layouts)}"
    return f"{sizes} ({default}; {split.source}{'; ' if split.note else ''}{split.note})"


def prepared_text(prepared: Prepared) -> str:
    """Where a cache lies and what is in it: counts, spacing or sizes, classes, parts of each split."""
    content = _volumes(prepared) if prepared.spec.task == "segmentation" else _images(prepared)
    return "\n".join(
        [
            f"prepared  {prepared.folder}: {_counts(prepared)}",
            f"layout    {prepared.layout}, fingerprint {prepared.fingerprint}",
            *content,
            *(f"split     {_parts(prepared, name)}" for name in prepared.spec.splits),
        ]
    )


def _volumes(prepared: Prepared) -> list[str]:
    voxels = [sum(case.voxels[k] for case in prepared.cases) for k in range(len(prepared.spec.classes))]
    spacings = sorted({case.spacing for case in prepared.cases if case.spacing})
    return [
        "spacing   "
        + (f"{len(spacings)} different, {_mm(spacings[0])} to {_mm(spacings[-1])}" if spacings else "unknown"),
        "voxels    " + ", ".join(f"{name} {n:,}" for name, n in zip(prepared.spec.classes, voxels, strict=True)),
        *_short_stacks(prepared),
        *_doubtful_headers(prepared),
    ]


def _doubtful_headers(prepared: Prepared) -> list[str]:
    doubts = prepared.doubts()
    if not doubts:
        return []
    case, doubt = next(iter(doubts.items()))
    headers = f"headers   {len(doubts)} of {len(prepared.cases)} cases contradict themselves (first {case}: {doubt})"
    return [f"{headers}: mm are by the voxel size; mend the headers where that is wrong"]


def _short_stacks(prepared: Prepared) -> list[str]:
    """The cases that have fewer slices than were published, where the split's list says how many."""
    from bench.datasets.splits.assignment import load_list, split_names

    spec = prepared.spec
    if prepared.kind != "real" or spec.default_split[prepared.layout] not in split_names(spec.name):
        return []
    published = load_list(spec.name, spec.default_split[prepared.layout]).get("slices", {})
    counts = {
        case.case: (case.shape[0], _published_slices(published.get(case.patient), case.case)) for case in prepared.cases
    }
    short = [f"{name} {n}/{of}" for name, (n, of) in counts.items() if of is not None and n < of]
    return [f"short     {len(short)} cases have fewer slices than published: {', '.join(short[:6])}"] if short else []


def _published_slices(of_patient: int | Mapping[str, int] | None, case: str) -> int | None:
    """How many slices a list has of a volume: of a patient's only one, or of the phase that ends the case's name."""
    return of_patient.get(case.rpartition("_")[2]) if isinstance(of_patient, Mapping) else of_patient


def _images(prepared: Prepared) -> list[str]:
    sizes = sorted({case.shape[:0:-1] for case in prepared.cases}, key=lambda size: size[0] * size[1])
    groups = prepared.manifest["groups"]
    label = {case.case: case.label for case in prepared.cases}
    mixed = sum(len({label[name] for name in group}) > 1 for group in groups)
    least = prepared.manifest["duplicates"]["correlation"]
    return [
        f"sizes     {len(sizes)} different, {sizes[0][0]} x {sizes[0][1]} to {sizes[-1][0]} x {sizes[-1][1]} pixels",
        f"alike     {sum(map(len, groups))} images in {len(groups)} groups of near-duplicates (correlation >= {least})"
        + (f", {mixed} of them across classes" if mixed else ""),
        *_sixteen_bits(prepared),
    ]


def _sixteen_bits(prepared: Prepared) -> list[str]:
    """What became of images of 16 bits."""
    facts = prepared.manifest.get("sixteen_bits")
    if not facts:
        return []
    distinct, left = facts["worst"]["levels"]
    worst = f"fewest: {left} of {distinct:,} grey levels in {facts['worst']['case']!r}"
    poor = f"{facts['under_half']} keep less than half of what 8 bits can show"
    return [f"16 bits   {facts['images']} images, {facts['rule']}; {poor} ({worst})"]


def _parts(prepared: Prepared, name: str) -> str:
    """A split's parts as they are present, or why it cannot be made of what is present."""
    from bench.datasets.splits.assignment import count_parts, make_split

    spec = prepared.spec
    title = f"{name}{' (default)' if name == spec.default_split[prepared.layout] else ''}"
    try:
        split = make_split(spec, prepared, name)
    except UserError as error:
        return f"{title}: not usable: {error}"
    counts = count_parts(prepared.cases, split)
    if spec.task == "segmentation" and spec.is_divided_here:
        known = patients_known(prepared.cases)
        shown = ", ".join(
            f"{part} {c['cases']}" + (f" ({c['present_patients']} patients)" if known else "")
            for part, c in counts.items()
        )
        return (
            f"{title}: cases {shown}{f'; {split.note}' if split.note else ''}{f'; {split.flag}' if split.flag else ''}"
        )
    if name not in spec.split_functions and not spec.is_divided_here:
        shown = ", ".join(f"{part} {c['present_patients']}/{c['official_patients']}" for part, c in counts.items())
        return f"{title}: patients present/official {shown}"
    members = {part: set(names) for part, names in split.parts.items()}
    labels = {
        part: [case.label for case in prepared.cases if split.member(case) in members[part]] for part in split.parts
    }
    shown = ", ".join(
        f"{part} {counts[part]['cases']} (" + " + ".join(str(of.count(k)) for k in range(len(spec.classes))) + ")"
        for part, of in labels.items()
    )
    flag = f"; {split.flag}" if split.flag else ""
    return f"{title}: images {shown}{flag}"


def _counts(prepared: Prepared) -> str:
    cases, spec = prepared.cases, prepared.spec
    patients = {case.patient for case in cases}
    if spec.task == "segmentation":
        slices = sum(case.shape[0] for case in cases)
        if slices == len(cases) and spec.is_divided_here:
            known = f"{len(patients)} patients" if patients_known(cases) else "patients unknown"
            return f"{slices:,} pictures, {known}"
        return f"{len(patients)} patients, {len(cases)} volumes, {slices} slices"
    of_class = " + ".join(f"{sum(case.label == k for case in cases):,} {name}" for k, name in enumerate(spec.classes))
    known = "patients unknown" if patients == {case.case for case in cases} else f"{len(patients)} patients"
    official = spec.official_cases.get(prepared.layout) if prepared.kind == "real" else None
    published = f" of {official:,} published" if official else ""
    return f"{len(cases):,}{published} images ({of_class}), {known}"


def _mm(spacing: tuple[float, float, float]) -> str:
    return " x ".join(f"{s:.3g}" for s in spacing) + " mm"
