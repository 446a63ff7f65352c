"""The audit: duplicates, leaks of splits, predictors of the label, and what it writes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from bench.cli.main import main
from bench.datasets.audit import findings
from bench.datasets.audit.findings import audit
from bench.datasets.base import Case, Prepared
from bench.datasets.cache.prepared import prepare
from bench.datasets.phantoms import cardiac, chest, skin
from bench.datasets.readers.acdc import SPEC as ACDC
from bench.datasets.readers.large_covid import SPEC as LARGE
from bench.datasets.readers.msld import SPEC as MSLD
from bench.datasets.readers.sars_cov2_ct import SPEC as SARS
from bench.datasets.splits.pairs import Pair
from bench.report.audits import audit_text, leaks_sheet, pairs_file
from bench.report.sheets import to_markdown


@pytest.fixture(scope="module")
def msld(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("msld")
    skin.draw(folder / "raw", 0, subjects=10, copies=2)
    return prepare(MSLD, folder / "raw", folder / "root")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("large")
    chest.draw(folder / "raw", 0, patients=8, slices=3)
    for path in (folder / "raw" / "curated_data" / "curated_data" / "3CAP").glob("*_02.png"):
        path.unlink()
    return prepare(LARGE, folder / "raw", folder / "root")


def test_copies_are_found_with_names_hidden_and_recall_counts_them(msld: Prepared) -> None:
    figures = audit(msld).figures
    photographs = sum(case.case.count("_") == 1 for case in msld.cases)
    recall = figures["recall"]
    assert recall["pairs"] == 3 * photographs  # of a photograph and two copies
    assert recall["pictures"] == 3 * photographs
    # Every second copy is only recoloured; the others are turned by any angle, which is not looked for.
    assert photographs <= recall["found"] <= 1.3 * photographs
    assert 2 * photographs <= recall["linked"] < 3 * photographs
    assert recall["precision"] == pytest.approx(recall["found"] / figures["near"]["pairs"])


def test_groups_do_not_depend_on_when_their_pairs_are_joined(msld: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs are joined whenever many have come, so that memory grows with the pictures alone."""
    near = audit(msld, 0.8).figures["near"]
    assert near["groups"] < near["pairs"]
    monkeypatch.setattr(findings, "MOST_PENDING", -len(msld.cases))  # after each pair
    assert audit(msld, 0.8).figures["near"] == near


def test_leaks_are_those_of_the_split(msld: Prepared) -> None:
    splits = audit(msld).figures["splits"]
    assert next(iter(splits)) == "subject", "the default comes first"
    for name in ("subject", "augmented-subject", "fold1"):
        assert splits[name]["patient"] == splits[name]["photograph"] == 0
    random = splits["augmented-random"]
    assert random["patient"] > 0.8
    assert random["flag"]
    # One of two copies is found by its picture: of the tested copies those whose photograph's other copy trains.
    assert random["near_duplicate"] <= random["photograph"]


def test_predictors_are_found_and_patients_do_not_help_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for folder, stem, mode in (("COVID", "Covid", "RGB"), ("non-COVID", "Non-Covid", "RGBA")):
        (tmp_path / "raw" / folder).mkdir(parents=True)
        for n in range(1, 41):
            side = int(rng.integers(40, 90))
            image = Image.fromarray(rng.integers(0, 256, (50, side), dtype=np.uint8))
            image.convert(mode).save(tmp_path / "raw" / folder / f"{stem} ({n}).png")
    predictors = audit(prepare(SARS, tmp_path / "raw", tmp_path / "root")).figures["predictors"]
    assert predictors["mode"] == 1.0
    assert 0.3 < predictors["width"] < 0.7
    assert "height" not in predictors, "all are 50 pixels high"


def test_what_no_case_of_a_class_has_is_no_predictor() -> None:
    """A column that one class's table lacks would tell that class."""
    cases = [Case(f"c{i}", f"p{i}", (1, 8, 8), None, 0, label=i % 3) for i in range(60)]
    facts: list[dict[str, str | int]] = [{"age": i % 3, "centre": "A" if i % 3 else ""} for i in range(60)]
    assert findings._predictors(cases, facts) == {"age": 1.0}
    assert findings._predictors(cases, [{"age": i % 3, **({"centre": "A"} if i % 3 else {})} for i in range(60)]) == {
        "age": 1.0
    }


def test_photographs_without_copies_have_no_recall(tmp_path: Path) -> None:
    skin.draw(tmp_path / "raw", 0, subjects=6, copies=0)
    shutil.rmtree(tmp_path / "raw" / "Augmented Images")
    shutil.rmtree(tmp_path / "raw" / "Fold1")
    figures = audit(prepare(MSLD, tmp_path / "raw", tmp_path / "root")).figures
    assert (figures["layout"], figures["recall"]) == ("originals", None)
    assert "recall" not in audit_text(figures, [])


@pytest.mark.slow
def test_metadata_are_audited_beyond_the_files_that_are_there(large: Prepared) -> None:
    rows = audit(large).figures["metadata"]
    assert (rows["rows"], rows["rows without a file"], rows["files without a row"]) == (72, 8, 0)
    assert rows["patients"] == {"normal": 8, "COVID": 8, "CAP": 8}
    assert rows["splits"]["patient"]["patient"] == 0
    assert rows["splits"]["random-80-20"]["patient"] > 0.5
    assert rows["splits"]["random-80-20"]["test"] == 15
    assert max(rows["predictors"].values()) < 0.75, "the phantoms' sources are dealt to the classes alike"


def test_exact_copies_and_broken_caches_are_told(tmp_path: Path) -> None:
    chest.draw(tmp_path / "raw", 0, patients=6, slices=1)
    place = tmp_path / "raw" / "curated_data" / "curated_data" / "3CAP"
    first = sorted(place.iterdir())[0]
    (place / "copy.png").write_bytes(first.read_bytes())
    data = prepare(LARGE, tmp_path / "raw", tmp_path / "root")
    figures = audit(data).figures
    assert figures["exact"] == {"groups": 1, "cases": 2}
    assert figures["near"]["groups"] >= 1
    assert "files     3 problems; x" in audit_text(figures, ["3 problems", "x"])


def test_volumes_are_compared_between_patients_slice_by_slice(tmp_path: Path) -> None:
    cardiac.draw(tmp_path / "raw", 0, {"train": 2, "val": 1, "test": 1})
    data = prepare(ACDC, tmp_path / "raw", tmp_path / "root")
    figures = audit(data, 0.5).figures
    assert figures["pictures"] == sum(case.shape[0] for case in data.cases)
    assert figures["near"]["of one patient"] == 0
    assert figures["near"]["pairs"] > 0, "at so low a threshold"
    assert figures["patients"] == 4
    assert figures["voxels"]["LV"] == sum(case.voxels[3] for case in data.cases)


@pytest.mark.slow
def test_the_command_prints_and_writes(large: Prepared, tmp_path: Path) -> None:
    root = large.folder.parent
    options = ["--data-root", str(root), "--threshold", "0.8", "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(main, ["data", "audit", "large-covid-ct", *options])
    assert result.exit_code == 0, result.output
    assert "classes   normal 24, COVID 24, CAP 16" in result.output
    figures = json.loads((tmp_path / "out" / "audit.json").read_text())
    rows = list(csv.DictReader((tmp_path / "out" / "pairs.csv").open()))
    assert len(rows) == figures["near"]["pairs"] > 0
    assert all(float(row["correlation"]) >= 0.8 for row in rows)
    sheet = Image.open(tmp_path / "out" / "contact-sheet.png")
    assert sheet.width == 3 * (2 * 128 + 12)
    (tmp_path / "file").touch()
    options[-1] = str(tmp_path / "file" / "out")
    result = CliRunner().invoke(main, ["data", "audit", "large-covid-ct", *options])
    assert result.exit_code == 2
    assert "Cannot write under" in result.output


def test_no_name_in_the_pairs_is_a_formula(tmp_path: Path) -> None:
    one, two = (findings.Picture(name, 0, f"@{name}", None) for name in ('=HYPERLINK("a")', "-1+2"))
    with pairs_file(tmp_path) as add:
        add(Pair(0, 1, -0.5), one, two)
    with (tmp_path / "pairs.csv").open(newline="") as file:
        _, row = csv.reader(file)
    assert row == ['\'=HYPERLINK("a")', "'-1+2", "-0.5000", "0", "0", '\'@=HYPERLINK("a")', "'@-1+2"]


def test_the_table_of_leaks_has_a_row_for_each_split(msld: Prepared, large: Prepared) -> None:
    lines = to_markdown(leaks_sheet([audit(msld).figures, audit(large).figures])).splitlines()[2:]
    assert len(lines) == 2 + 4 + 2 + 2
    assert lines[2].startswith("| msld | subject | ")
    assert any(line.startswith("|  | augmented-random (flagged) | ") for line in lines)
    assert all(line.count("|") == 9 for line in lines[:-2])
    assert lines[-1].startswith("- msld: with names hidden: ")


def test_other_files_of_a_data_set_are_told_apart_by_their_number(msld: Prepared) -> None:
    figures = audit(msld).figures
    fewer = {**figures, "fingerprint": "other", "pictures": 1_234}
    text = to_markdown(leaks_sheet([figures, fewer]))
    assert f"| msld, {figures['pictures']:,} pictures | subject | " in text
    assert "| msld, 1,234 pictures | subject | " in text
    again = {**figures, "near": {**figures["near"], "any angle": True}}
    assert "| msld (any angle) | subject | " in to_markdown(leaks_sheet([figures, again]))
