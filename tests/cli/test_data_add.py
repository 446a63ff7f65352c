"""`medbench data add` from the command line: what it prints, and that every other command takes what it made."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from own_folders import picture, save, write_classes, write_pairs

from bench.cli.main import main

TINY = ["--preset", "smoke", "--set", "steps=2", "--set", "image_size=32", "--threads", "1"]


def call(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, list(words), env={"COLUMNS": "160"})
    assert result.exit_code == code, result.output
    return result


def test_from_class_folders_to_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDBENCH_DATA", str(tmp_path / "root"))
    write_classes(tmp_path / "raw", {"benign": 8, "malignant": 8})
    shown = call("data", "add", "my-lesions", "--from", "raw", "--dry-run").output
    assert shown == (
        f"understood a folder of images for each class in {tmp_path / 'raw'}\n"
        "task       classification, 16 images, grey\n"
        "classes    0 benign 8, 1 malignant 8\n"
        "patients   unknown, near-duplicates are kept together; --patients CSV or --patient-pattern REGEX names them\n"
        "parts      dealt by `patient`, about 60/15/25 %; --split CSV gives others, --folds N cross-validates\n"
        "dry run: nothing is prepared\n"
    )
    assert not (tmp_path / "root" / "my-lesions").exists()
    assert (
        "16 images (8 benign + 8 malignant), patients unknown"
        in call("data", "add", "my-lesions", "--from", "raw").output
    )
    assert "my-lesions" in call("data", "list").output
    info = call("data", "info", "my-lesions").output
    assert "split     patient (default): images train 10 (5 + 5), val 2 (1 + 1), test 4 (2 + 2)" in info
    assert call("data", "verify", "my-lesions", "--from", "raw").output.endswith("and the original files with it\n")
    assert "near-duplicate 0.0 %" in call("data", "audit", "my-lesions").output
    refused = call("run", "--models", "chance", "--dataset", "my-lesions", "--data", "phantom", *TINY, code=2).output
    assert refused.startswith("Error: No phantoms can be drawn of my-lesions")
    table = call("run", "--models", "chance", "--dataset", "my-lesions", *TINY).output
    assert "my-lesions, real images, split patient" in table
    assert "patients unknown" in table
    assert "Images present / published: 16 / no published number" in table
    assert "my-lesions" in call("report", "--format", "markdown").output
    assert "1 x 3" in call("plan", "--models", "chance", "--dataset", "my-lesions", "--folds", "3", *TINY).output


def test_from_an_archive_as_medmnist_s_to_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDBENCH_DATA", str(tmp_path / "root"))
    arrays = {}
    for k, (part, count) in enumerate({"train": 12, "val": 4, "test": 8}.items()):
        arrays[f"{part}_images"] = np.stack([picture(100 * k + i, (28, 28)) for i in range(count)])
        arrays[f"{part}_labels"] = np.arange(count)[:, None] % 2
    np.savez(tmp_path / "breastmnist.npz", **arrays)
    call(
        "data", "add", "breast", "--from", "breastmnist.npz", "--classes", "malignant,normal", "--title", "BreastMNIST"
    )
    assert call("data", "verify", "breast", "--from", ".").output.endswith("and the original files with it\n")
    call("run", "--models", "chance", "--dataset", "breast", *TINY)
    table = call("report", "--format", "markdown").output
    assert "BreastMNIST (breast), real images, preset smoke" in table
    assert "Split given (theirs: the division that came with the files; patients unknown)" in table
    assert "train 12 (malignant 6, normal 6), val 4 (malignant 2, normal 2), test 8 (malignant 4, normal 4)" in table


@pytest.mark.parametrize("given", [True, False])
def test_the_next_commands_work_as_printed(given: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDBENCH_DATA", str(tmp_path / "other root"))
    root = ["--data-root", "a root"] if given else []
    write_classes(tmp_path / "raw", {"benign": 8, "malignant": 8})
    said = call("data", "add", "mine", "--from", "raw", "--patient-pattern", "([0-9]+)", *root).output
    printed = shlex.split(said.rpartition("; next: medbench ")[2])
    assert printed[-2:] == (root or ["--preset", "smoke"])
    assert "0 of 1 cells done" in call(*("plan" if word == "run" else word for word in printed)).output
    prepared = call("data", "info", "mine", *root).output.partition("\nprepared  ")[2]
    shutil.rmtree(tmp_path / ("a root" if given else "other root") / "mine")
    info = call("data", "info", "mine", *root).output
    (step,) = (line.partition("2. Then: medbench ")[2] for line in info.splitlines() if "2. Then" in line)
    assert info.rstrip().endswith(f"prepared  no: run `medbench {step}`")
    call(*("raw" if word == "DIR" else word for word in shlex.split(step)))
    assert call("data", "info", "mine", *root).output.endswith(prepared), "patients by the same pattern"


def test_no_run_is_named_where_no_split_can_be_used(tmp_path: Path) -> None:
    write_classes(tmp_path / "raw", {"benign": 8, "malignant": 8})
    root = ["--data-root", str(tmp_path / "root")]
    said = call("data", "add", "mine", "--from", str(tmp_path / "raw"), "--patient-pattern", "[a-z]", *root).output
    assert "split     patient (default): not usable: " in said
    assert said.endswith("mine.toml; no split of it can be used yet\n")


def test_other_content_needs_replace(tmp_path: Path) -> None:
    root = str(tmp_path / "root")
    write_classes(tmp_path / "raw", {"a": 4, "b": 4})
    add = ["data", "add", "mine", "--from", str(tmp_path / "raw"), "--data-root", root]
    call(*add)
    assert "prepared" in call(*add).output
    save(tmp_path / "raw" / "a" / "new.png", picture(99))
    assert "holds another content" in call(*add, code=2).output
    assert "9 images" in call(*add, "--replace").output


def test_a_description_that_was_broken_breaks_nothing_else(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "stranger.toml").write_text("[tool.ruff]\nline-length = 1\n")
    (root / "mine.toml").write_text("task = 'nothing'\nfrom = 'x'\n")
    where = ["--data-root", str(root)]
    for command in (["data", "list", "--wide", *where], ["doctor", *where]):
        shown = " ".join(call(*command).output.split())
        assert "Expected task to be" in shown
        assert "stranger" not in shown
    assert "Expected task to be" in call("run", "--models", "chance", "--dataset", "mine", *where, *TINY, code=2).output


def test_images_that_stand_twice_are_told(tmp_path: Path) -> None:
    write_classes(tmp_path / "raw", {"a": 4, "b": 4})
    save(tmp_path / "raw" / "b" / "again.png", picture(1))
    shown = call("data", "add", "mine", "--from", str(tmp_path / "raw"), "--data-root", str(tmp_path / "root")).output
    assert (
        "twice      2 images are 1 in truth, 1 of them in several classes: one label is wrong, such as 'a/a0_a' and "
        "'b/again'\n"
    ) in shown


@pytest.mark.slow
def test_pictures_in_colour_with_maps_are_trained_taken_apart_and_developed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDBENCH_DATA", str(tmp_path / "root"))
    write_pairs(tmp_path / "raw", 14, colour=True)
    call("data", "add", "polyps", "--from", "raw", "--classes", "polyp", "--modality", "endoscopy")
    assert "Split patient (patients unknown)" in call("run", "--models", "unet_s", "--dataset", "polyps", *TINY).output
    assert "without sem" in call("ablate", "--remove", "sem", "--dataset", "polyps", *TINY).output
    folds = ("--vary", "lr=1e-3,3e-3", "--folds", "2")
    assert "lr=3e-3" in call("develop", "--models", "unet_s", "--dataset", "polyps", *folds, *TINY).output
