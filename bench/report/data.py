"""What the data commands print: which datasets there are, what one is, what was prepared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from bench.errors import UserError
from bench.registry import dataset_names, dataset_spec

if TYPE_CHECKING:
    from bench.datasets.prepared import Prepared


def list_table(data_root: str | None) -> Table:
    """One row per dataset, with what is prepared of it under the root."""
    from bench.datasets.prepared import open_prepared, resolve_root

    root, _ = resolve_root(data_root)
    table = Table(title=f"datasets (prepared ones under {root})")
    for header in ("name", "title", "task", "classes", "licence", "prepared"):
        table.add_column(header)
    for name in dataset_names():
        spec = dataset_spec(name)
        found = (root / name).exists()
        try:
            prepared = _counts(open_prepared(spec, root, "real")) if found else "no"
        except UserError:
            prepared = "broken, see `medbench data verify`"
        table.add_row(name, spec.title, spec.task, ", ".join(spec.classes), spec.licence, prepared)
    return table


def info_text(name: str, data_root: str | None) -> str:
    """A dataset's description, the steps to get it, its splits, and what is prepared of it."""
    from bench.datasets.prepared import open_prepared, resolve_root
    from bench.datasets.splits import load_split

    spec = dataset_spec(name)
    root, _ = resolve_root(data_root)
    lines = [
        f"{spec.title} ({spec.name}): {spec.task}, {spec.channels} channel(s)",
        f"classes   {', '.join(f'{i} {c}' for i, c in enumerate(spec.classes))}",
        f"citation  {spec.citation}",
        f"licence   {spec.licence}",
        f"homepage  {spec.homepage}",
        "how to get it",
        *(f"  {i}. {step}" for i, step in enumerate(spec.how_to_get, 1)),
        "splits by patient",
    ]
    for split in (load_split(name, s) for s in spec.splits):
        sizes = ", ".join(f"{len(patients)} {part}" for part, patients in split.parts.items())
        layouts = [layout for layout, default in spec.default_split.items() if default == split.name]
        lines.append(f"  {split.name}: {sizes} (default for {', '.join(layouts)}; {split.source})")
    if (root / name).exists():
        return "\n".join([*lines, prepared_text(open_prepared(spec, root, "real"))])
    return "\n".join([*lines, f"prepared  no: run `medbench data prepare {name} --from DIR`"])


def prepared_text(prepared: Prepared) -> str:
    """Where a cache lies and what is in it: counts, spacing, voxels of each class, parts of each split."""
    from bench.datasets.splits import count_parts, load_split

    voxels = [sum(case.voxels[k] for case in prepared.cases) for k in range(len(prepared.spec.classes))]
    spacings = sorted({case.spacing for case in prepared.cases if case.spacing})
    lines = [
        f"prepared  {prepared.folder}: {_counts(prepared)}",
        f"layout    {prepared.layout}, fingerprint {prepared.fingerprint}",
        "spacing   "
        + (f"{len(spacings)} different, {_mm(spacings[0])} to {_mm(spacings[-1])}" if spacings else "unknown"),
        "voxels    " + ", ".join(f"{name} {n:,}" for name, n in zip(prepared.spec.classes, voxels, strict=True)),
    ]
    for name in prepared.spec.splits:
        counts = count_parts(prepared.cases, load_split(prepared.spec.name, name))
        shown = ", ".join(f"{part} {c['present_patients']}/{c['official_patients']}" for part, c in counts.items())
        default = " (default)" if name == prepared.spec.default_split[prepared.layout] else ""
        lines.append(f"split     {name}{default}: patients present/official {shown}")
    return "\n".join(lines)


def _counts(prepared: Prepared) -> str:
    patients = {case.patient for case in prepared.cases}
    slices = sum(case.shape[0] for case in prepared.cases)
    return f"{len(patients)} patients, {len(prepared.cases)} volumes, {slices} slices"


def _mm(spacing: tuple[float, float, float]) -> str:
    return " x ".join(f"{s:.3g}" for s in spacing) + " mm"
