"""Tables of one's own data: rows that contradict each other, name nobody or say nothing are one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_folders import added, understood, write_classes, write_pairs

from bench.datasets.own.description import read_description
from bench.errors import UserError

CASES = [f"{name}/{name}{i}_{of}" for name in "ab" for i in range(2) for of in "ab"]


def table(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.mark.parametrize("label", ["", "nan"])
def test_rows_without_a_class_are_one_line(root: Path, tmp_path: Path, label: str) -> None:
    raw = write_classes(tmp_path / "raw", {"a": 4, "b": 4})
    rows = [f"{case}.png,{label if case.endswith('1_b') else case[0]}" for case in CASES]
    path = table(raw / "t.csv", "path,label", rows)
    line = r"a label in every row of .*t.csv, but 2 of 8 have none, such as that of a/a1_b.png: fill"
    with pytest.raises(UserError, match=line):
        understood(root, path)
    found = understood(root, path, classes="a,b").found  # who names classes leaves out all else
    assert (len(found.items), found.notes) == (6, ("left out: 2 rows of other classes",))


def test_rows_without_a_label_map_or_a_path_are_one_line(root: Path, tmp_path: Path) -> None:
    raw = write_pairs(tmp_path / "raw", 3)
    rows = [f"images/c{i}.png,masks/c{i}.png" for i in range(2)]
    with pytest.raises(UserError, match=r"a mask in every row of .*, but 1 of 3 have none, such as that of images/c2"):
        understood(root, table(raw / "t.csv", "path,mask", [*rows, "images/c2.png,"]))
    with pytest.raises(UserError, match=r"a path in every row of .*, but 1 of 3 have none, such as the one of .*c2"):
        understood(root, table(raw / "t.csv", "path,mask", [*rows, ",masks/c2.png"]))


def test_a_class_may_be_called_none(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"a": 4, "b": 4})
    rows = [f"{case}.png,{'none' if case[0] == 'a' else 'b'}" for case in CASES]
    added(root, table(raw / "t.csv", "path,label", rows))
    assert read_description(root / "mine.toml").classes == ("b", "none")


@pytest.mark.parametrize(
    ("what", "option", "values"), [("patient", "patients", ("A", "B")), ("part", "split", ("train", "test"))]
)
@pytest.mark.parametrize("spelling", ["a0_a.png", "a/a0_a", "a/a0_a.png", "./a/a0_a.png", "a\\a0_a.png"])
def test_rows_of_one_case_that_differ_are_one_line(
    root: Path, tmp_path: Path, what: str, option: str, values: tuple[str, str], spelling: str
) -> None:
    raw = write_classes(tmp_path / "raw", {"a": 4, "b": 4})
    rows = [f"{Path(case).name},{values[0]}" for case in CASES]
    path = table(tmp_path / "t.csv", f"case,{what}", [*rows, f"{spelling},{values[1]}"])
    line = f"Expected one {what} of a/a0_a in .*{values[0]} as 'a0_a' and {values[1]} as "
    with pytest.raises(UserError, match=line):
        understood(root, raw, **{option: path})


def test_rows_of_one_case_that_agree_are_taken(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"a": 4, "b": 4})
    path = table(
        tmp_path / "t.csv", "case,patient", [f"{name},{case[0]}" for case in CASES for name in (case, f"{case}.png")]
    )
    assert {item.patient for item in understood(root, raw, patients=path).found.items} == {"a", "b"}


def test_a_part_beside_none_of_one_case_is_one_line(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"a": 4, "b": 4})
    path = table(tmp_path / "t.csv", "case,part", ["a0_a,train", "a0_b,val", "a1_a,test", "a0_a.png,"])
    with pytest.raises(UserError, match=r"one part of a/a0_a in .*, but it has train as 'a0_a' and none as 'a0_a.png'"):
        understood(root, raw, split=path)


@pytest.mark.parametrize(("header", "option"), [("case,patient", "patients"), ("case,patient,part", "split")])
def test_rows_that_name_no_case_are_one_line(root: Path, tmp_path: Path, header: str, option: str) -> None:
    raw = write_classes(tmp_path / "raw", {"a": 4, "b": 4})
    rows = [f"{case},{case[0]}{case[3]},{('train', 'val', 'test')[i % 3]}" for i, case in enumerate(CASES)]
    path = table(
        tmp_path / "t.csv", header, [row.rsplit(",", 2 - header.count(","))[0] for row in [*rows, "nobody,Z,test"]]
    )
    line = r"to name cases of the data set, but 1 of 9 are none \(nobody\): cases are named like 'a/a0_a'; remove"
    with pytest.raises(UserError, match=line):
        understood(root, raw, **{option: path})
