"""Names of files are bytes: what is no UTF-8 is passed over where it stands astray, and told where it is data."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from bench.cli.main import main
from bench.errors import UserError, printable

STRAY = os.fsdecode(b"Lies mich \xfcber.txt")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


def one_line(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1, result.stderr
    result.stderr.encode()
    for word in words:
        assert word in result.stderr


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(len(list(path.parent.parent.rglob("*")))).integers(0, 255, (16, 16, 3))
    Image.fromarray(values.astype(np.uint8)).save(path)


def acdc(folder: Path) -> None:
    for k, phase in enumerate(("ED", "ES")):
        (folder / "train").mkdir(parents=True, exist_ok=True)
        label = np.eye(6, dtype=np.uint8) * (k + 1)
        np.savez(folder / "train" / f"case_101_slice{phase}_0.npz", img=np.ones((6, 6)), label=label)


def synapse(folder: Path) -> None:
    (folder / "train_npz").mkdir(parents=True)
    np.savez(folder / "train_npz" / "case0005_slice000.npz", image=np.ones((6, 6)), label=np.zeros((6, 6)))


def pictures(*names: str) -> Callable[[Path], None]:
    def draw(folder: Path) -> None:
        for name in names:
            picture(folder / name)

    return draw


TREES: dict[str, Callable[[Path], None]] = {
    "acdc": acdc,
    "synapse": synapse,
    "sars-cov2-ct": pictures("COVID/Covid (1).png", "non-COVID/Non-Covid (1).png"),
    "msld": pictures("Original Images/Monkey Pox/M01_01.png", "Original Images/Others/NM01_01.png"),
    "large-covid-ct": pictures("data/1NonCOVID/a.png", "data/2COVID/b.png", "data/3CAP/c.png"),
}


@pytest.mark.parametrize("name", TREES)
def test_a_stray_file_and_folder_are_passed_over(name: str, tmp_path: Path) -> None:
    source = tmp_path / os.fsdecode(b"Gr\xfc\xdfe") / "raw"
    TREES[name](source)
    (source / STRAY).write_text("x")
    (source / os.fsdecode(b"\xfc")).mkdir()
    (source / os.fsdecode(b"\xfc") / STRAY).write_text("x")
    root = tmp_path / os.fsdecode(b"root \xe4")
    result = run("data", "prepare", name, "--from", source, "--data-root", root)
    assert result.exit_code == 0, result.output
    assert r"root \udce4" in result.output
    result = run("data", "verify", name, "--from", source, "--data-root", root)
    assert result.exit_code == 0, result.output
    if name == "sars-cov2-ct":
        result = run("data", "audit", name, "--data-root", root, "--output", tmp_path / "out")
        assert result.exit_code == 0, result.output


def test_a_case_whose_name_is_no_utf8_is_one_line(tmp_path: Path) -> None:
    TREES["large-covid-ct"](tmp_path / "raw")
    picture(tmp_path / "raw" / "data" / "2COVID" / os.fsdecode(b"B\xfc.png"))
    result = run("data", "prepare", "large-covid-ct", "--from", tmp_path / "raw", "--data-root", tmp_path / "root")
    one_line(result, r"Expected names of printable UTF-8, but found", r"2COVID/B\xfc.png: rename it")


@pytest.mark.parametrize("bad", [os.fsdecode(b"\xfc.png"), "two\nlines.png", "bell\x07.png"])
def test_a_label_map_whose_name_is_no_text_is_one_line(bad: str, tmp_path: Path) -> None:
    for place in ("pred", "label"):
        (tmp_path / place).mkdir()
        Image.fromarray(np.eye(9, dtype=np.uint8)).save(tmp_path / place / "a.png")
    (tmp_path / "pred" / STRAY).write_text("x")
    (tmp_path / "pred" / os.fsdecode(b"\xe4")).mkdir()
    arguments = ("evaluate", "--pred", tmp_path / "pred", "--label", tmp_path / "label", "--format", "csv")
    assert run(*arguments).exit_code == 0
    (tmp_path / "pred" / bad).write_bytes((tmp_path / "pred" / "a.png").read_bytes())
    one_line(run(*arguments), "Expected names of printable UTF-8, but found")


def test_archives_with_names_that_are_no_utf8(tmp_path: Path) -> None:
    acdc(tmp_path / "raw")
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("stray_XX.txt", b"x")
        for file in sorted((tmp_path / "raw").rglob("*.npz")):
            archive.write(file, file.relative_to(tmp_path / "raw"))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"stray_XX", b"stray_\xfc\xe4"))  # as old tools write it: without a code page
    result = run("data", "prepare", "acdc", "--from", path, "--data-root", tmp_path / "root")
    assert result.exit_code == 0, result.output
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("stray_ü.txt", b"x")  # marked as UTF-8
    path.write_bytes(path.read_bytes().replace("ü".encode(), b"\xfc\xe4"))
    result = run("data", "prepare", "acdc", "--from", path, "--data-root", tmp_path / "other")
    one_line(result, "has names that are no UTF-8: unpack it and give the folder")


def test_an_error_is_one_printable_line() -> None:
    assert str(UserError("a\n  b \udcfc \ud800 \x1b[31m é")) == r"a b \xfc \ud800 \x1b[31m é"
    assert printable("Covid (12)") == "Covid (12)"
