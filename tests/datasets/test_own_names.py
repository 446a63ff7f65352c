"""Names in one's own data: what is no printable text is one line, and a patient named as a case is a known one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from own_folders import added, disc, picture, save, understood, write_classes

from bench.cli.main import main
from bench.datasets.cache.prepared import open_prepared
from bench.datasets.own.items import Item
from bench.datasets.own.recognising import with_distinct_patients
from bench.datasets.splits.assignment import make_split
from bench.datasets.splits.overlap import patients_known
from bench.datasets.splits.unit_table import unit_table
from bench.errors import UserError
from bench.report.own_data import understood_text
from bench.zoo.registry import dataset_spec


def odd(path: Path, name: bytes) -> None:
    """Renames a folder to bytes, where the file system has such names."""
    try:
        os.rename(os.fsencode(path), os.fsencode(path.parent) + b"/" + name)
    except OSError:
        pytest.skip("names are UTF-8 on this file system")


@pytest.mark.parametrize("name", [b"caf\xe9", b"es\x1b[31mc", b"two\nlines"])
@pytest.mark.parametrize("place", ["b", "b/inner"])
def test_folders_of_odd_names_are_one_line_and_leave_nothing(
    root: Path, tmp_path: Path, place: str, name: bytes
) -> None:
    raw = write_classes(tmp_path / "raw", {"a": 3, "c": 3, place: 3})
    odd(raw / place, name)
    call = ["data", "add", "mine", "--from", str(raw), "--data-root", str(root)]
    result = CliRunner().invoke(main, call, catch_exceptions=False)
    assert result.exit_code == 2, result.output
    assert "Expected names of printable UTF-8, but found " in " ".join(result.output.split())
    assert "rename it" in " ".join(result.output.split())
    assert not root.exists() or not [*root.iterdir()]


@pytest.mark.parametrize("place", ["images", "masks"])
def test_folders_of_odd_names_among_pairs_are_one_line(root: Path, tmp_path: Path, place: str) -> None:
    raw = tmp_path / "raw"
    for i in range(3):
        save(raw / "images" / ("p" if place == "images" else "") / f"x{i}.png", picture(i))
        save(raw / "masks" / ("p" if place == "masks" else "") / f"x{i}.png", disc(i))
    odd(raw / place / "p", b"p\xe9")
    with pytest.raises(UserError, match=r"names of printable UTF-8, but found .*p\\xe9/x0.png: rename it"):
        understood(root, raw)


def test_odd_names_of_what_is_left_out_are_told(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"a": 3, "b": 3})
    (raw / "docs").mkdir()
    odd(raw / "docs", b"caf\xe9")
    assert understood(root, raw).found.notes == ("left out: the folder caf\\xe9, without images",)


def test_patients_and_classes_of_tables_are_printable(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"a": 3, "b": 3})
    names = sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*.png"))
    (raw / "t.csv").write_text(
        "path,label,patient\n" + "".join(f'{name},{name[0]},"p\x1b{name[2]}"\n' for name in names)
    )
    with pytest.raises(UserError, match=r"names of patients in printable UTF-8, but found p\\x1b"):
        understood(root, raw)
    (raw / "t.csv").write_text("path,label\n" + "".join(f'{name},"{name[0]}\nx"\n' for name in names))
    with pytest.raises(UserError, match=r"names of classes in printable UTF-8, but found a x"):
        understood(root, raw)


def write_patients(folder: Path) -> Path:
    """`images/P000.png`, a patient each, of whom the first four resemble each other."""
    for i in range(12):
        image = picture(0 if i < 4 else i)
        image[0, 0] = i
        save(folder / "images" / f"P{i:03}.png", image)
        save(folder / "masks" / f"P{i:03}.png", disc(i))
    return folder


@pytest.mark.parametrize("by_table", [False, True])
def test_patients_named_as_their_cases_are_known(root: Path, tmp_path: Path, by_table: bool) -> None:
    raw = write_patients(tmp_path / "raw")
    unknown = added(root, raw, "unknown")
    assert make_split(unknown.spec, unknown, "patient").note == "patients unknown"
    table = tmp_path / "t.csv"
    table.write_text("case,patient\n" + "".join(f"P{i:03}.png,P{i:03}\n" for i in range(12)))
    said = {"patients": table} if by_table else {"patient_pattern": "^(P[0-9]+)"}
    origin = "table" if by_table else "pattern"
    assert f"patients   12 by the {origin}, such as patient P000 of P000" in understood_text(
        understood(root, raw, **said)
    )
    added(root, raw, **said)
    prepared = open_prepared(dataset_spec("mine", root), root)
    assert [case.patient for case in prepared.cases] == [f"patient P{i:03}" for i in range(12)]
    assert patients_known(prepared.cases)
    split = make_split(prepared.spec, prepared, "patient")
    assert split.note == ""
    assert sorted(len(part) for part in split.parts.values()) == [2, 3, 7]
    assert unit_table(prepared, "mine") is None, "each patient is one in an interval"
    assert (unit_table(unknown, "unknown") or {})["cases"].keys() == {"P001", "P002", "P003"}
    table.write_text("patient,part\n" + "".join(f"P{i:03},{('train', 'val', 'test')[i % 3]}\n" for i in range(12)))
    by_part = understood(root, raw, patient_pattern="^(P[0-9]+)", split=table).found
    assert [item.part for item in by_part.items[:3]] == ["train", "val", "test"]


def test_a_patient_named_as_a_case_has_all_cases_under_one_name_and_nobody_elses() -> None:
    def named(*cases: tuple[str, str | None]) -> list[str | None]:
        return [item.patient for item in with_distinct_patients([Item(c, Path(c), patient=p) for c, p in cases])]

    assert named(("P0", "P0"), ("P0_b", "P0"), ("P1", "P1")) == ["patient P0", "patient P0", "patient P1"]
    assert named(("P0", "P0"), ("x", "patient P0")) == ["patient patient P0", "patient P0"]
    assert named(("P0", "P0"), ("patient P0", "y")) == ["patient patient P0", "y"]
    assert named(("P0", None), ("P0_b", "P0")) == [None, "patient P0"]
    assert named(("P0_a", "P0"), ("P0_b", None)) == ["P0", None]
