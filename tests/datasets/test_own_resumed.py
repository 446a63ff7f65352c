"""Own data that were described anew: what an interrupted addition left, and what tables say of prepared cases."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from own_folders import SIDE, added, picture, save, understood, write_classes

from bench.cli.main import main
from bench.datasets.base import Prepared
from bench.datasets.cache.prepared import compare_source, verify
from bench.datasets.own.adding import add


def interrupted(root: Path, source: Path, after: int, **fields: object) -> None:
    """Adds data until so many cases are finished, where Ctrl-C comes."""

    def stop(case: str, done: int, total: int) -> None:
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add(understood(root, source, **fields), root, replace_old=False, report=stop)
    assert (root / f"mine.tmp-{os.getpid()}" / "progress.jsonl").is_file()


def classes_of(prepared: Prepared) -> set[tuple[str, str]]:
    return {(case.case.split("/")[0], prepared.spec.classes[case.label or 0]) for case in prepared.cases}


def test_other_classes_begin_from_the_start(root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"A": 4, "B": 4, "C": 4})
    interrupted(root, raw, after=6, classes="A,B,C")
    prepared = added(root, raw, classes="A,C")
    assert classes_of(prepared) == {("A", "A"), ("C", "C")}
    assert len(prepared.cases) == 8


def tables(folder: Path) -> Iterator[tuple[dict[str, object], dict[str, object]]]:
    """Pairs of descriptions that differ in whose the images are."""
    for patient in "xy":
        rows = [f"A{i // 2}_{'ab'[i % 2]},{patient}{i // 2}" for i in range(4)]
        rows += [f"B{i // 2}_{'ab'[i % 2]},{patient}{5 + i // 2}" for i in range(4)]
        path = folder / patient / "patients.csv"  # of one name, size and length
        path.parent.mkdir()
        path.write_text("\n".join(["case,patient", *rows]) + "\n")
    yield {"patients": folder / "x" / "patients.csv"}, {"patients": folder / "y" / "patients.csv"}
    yield {"patient_pattern": "^([AB][0-9])"}, {"patient_pattern": "^([AB][0-9]_.)"}


@pytest.mark.parametrize("which", [0, 1])
def test_other_patients_begin_from_the_start(which: int, root: Path, tmp_path: Path) -> None:
    raw = write_classes(tmp_path / "raw", {"A": 4, "B": 4})
    first, second = list(tables(tmp_path))[which]
    whole = added(tmp_path / "whole", raw, **second)
    interrupted(root, raw, after=5, **first)
    prepared = added(root, raw, **second)
    assert [case.patient for case in prepared.cases] == [case.patient for case in whole.cases]
    assert prepared.fingerprint == whole.fingerprint


def test_another_title_goes_on_behind_what_is_finished(root: Path, tmp_path: Path) -> None:
    raw, read = write_classes(tmp_path / "raw", {"A": 4, "B": 4}), []
    interrupted(root, raw, after=5)
    add(understood(root, raw, title="Other"), root, False, report=lambda case, done, total: read.append(case))
    assert len(read) == 3


def swap_labels(text: str) -> str:
    return text.replace(",a,", ",?,").replace(",b,", ",a,").replace(",?,", ",b,")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (swap_labels, "c0 is of another class"),
        (lambda text: text.replace(",p0,", ",p9,"), "c0 is of another patient"),
        (lambda text: text.replace("p0,train", "p0,test"), "c0 is of another part"),
    ],
)
def test_verify_sees_what_a_table_says_of_the_cases(
    change: Callable[[str], str], said: str, root: Path, tmp_path: Path
) -> None:
    raw, parts = tmp_path / "raw", ("train", "val", "test")
    for i in range(12):
        save(raw / f"c{i}.png", picture(i))
    rows = [f"c{i}.png,{'ab'[i % 2]},p{i},{parts[i // 4]}" for i in range(12)]
    table = raw / "t.csv"
    table.write_text("\n".join(["image,label,patient,split", *rows]) + "\n")
    prepared = added(root, table)
    assert compare_source(prepared, raw, root) == []
    table.write_text(change(table.read_text()))
    assert verify(prepared) == []
    assert any(line.endswith(said) for line in compare_source(prepared, raw, root))


def test_an_archive_is_audited_and_verified_as_it_was_added(root: Path, tmp_path: Path) -> None:
    arrays: dict[str, np.ndarray] = {}
    for k, (part, count) in enumerate({"train": 8, "val": 4, "test": 4}.items()):
        arrays[f"{part}_images"] = np.stack([picture(100 * k + i, (SIDE, SIDE)) for i in range(count)])
        arrays[f"{part}_labels"] = np.arange(count, dtype=np.uint8)[:, None] % 2
    np.savez(tmp_path / "raw.npz", **arrays)
    added(root, tmp_path / "raw.npz")
    place = ["--data-root", str(root)]
    for words, said in (
        (["audit", "mine"], "audit     mine, layout npz"),
        (["verify", "mine", "--from", str(tmp_path / "raw.npz")], "and the original files with it"),
        (["prepare", "mine", "--from", str(tmp_path / "raw.npz")], "kept: the same content"),
    ):
        result = CliRunner().invoke(main, ["data", *words, *place], env={"COLUMNS": "160"})
        assert (result.exit_code, said in result.output) == (0, True), result.output
