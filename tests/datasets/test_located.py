"""Where caches are looked for: argument, environment, default; and phantoms where there are none."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from small_acdc import FAST, located_fingerprint

from bench.cli.main import main
from bench.datasets.cache.prepared import default_root, locate, prepare, resolve_root, verify
from bench.datasets.readers.acdc import SPEC
from bench.errors import UserError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_roots_argument_environment_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert resolve_root(None) == (default_root(), False)
    assert default_root() == tmp_path / "xdg" / "medbench"
    monkeypatch.setenv("MEDBENCH_DATA", str(tmp_path))
    assert resolve_root(None) == (tmp_path, True)
    assert resolve_root(str(root)) == (root, True)
    monkeypatch.setenv("MEDBENCH_DATA", "")
    assert resolve_root(None)[1] is False


def test_a_given_root_must_exist(monkeypatch: pytest.MonkeyPatch, root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"of --data-root does not exist. Did you mean: {root}"):
        resolve_root(root.with_name("rooot"))
    monkeypatch.setenv("MEDBENCH_DATA", str(tmp_path / "zzz"))
    with pytest.raises(UserError, match="of MEDBENCH_DATA does not exist"):
        resolve_root(None)
    assert resolve_root(None, must_exist=False) == (tmp_path / "zzz", True)
    (tmp_path / "zzz").touch()
    with pytest.raises(UserError, match="is a file"):
        resolve_root(None, must_exist=False)


def test_a_root_that_is_not_there_yet_is_made_for_phantoms_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawn: list[Path] = []
    monkeypatch.setattr("bench.datasets.cache.prepared.prepare", lambda spec, raw, root, **_: drawn.append(root))
    spec: Any = SimpleNamespace(name="acdc", draw_phantom=lambda raw, seed: None)
    monkeypatch.setenv("MEDBENCH_DATA", str(tmp_path / "new" / "root"))
    for source in ("auto", "real"):
        with pytest.raises(UserError, match="of MEDBENCH_DATA does not exist"):
            locate(spec, source)
    assert not (tmp_path / "new").exists()
    locate(spec, "phantom")
    assert drawn == [tmp_path / "new" / "root"]
    assert drawn[0].is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"Cannot make the folder .* for phantoms: Not a directory"):
        locate(spec, "phantom", tmp_path / "file" / "below")


@pytest.mark.parametrize("arguments", [["list"], ["info", "acdc"]])
def test_what_datasets_there_are_needs_no_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str]
) -> None:
    monkeypatch.setenv("MEDBENCH_DATA", str(tmp_path / "none"))
    result = CliRunner().invoke(main, ["data", *arguments])
    assert result.exit_code == 0, result.output
    assert "acdc" in result.output
    assert not (tmp_path / "none").exists()


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "medbench"


def test_auto_draws_phantoms_only_where_nothing_is(home: Path, source: Path) -> None:
    data = locate(FAST, "auto")
    assert (data.name, data.folder, len(data.cases)) == ("acdc-phantom", home / "acdc-phantom", 2)
    assert names(home) == ["acdc-phantom"]
    prepare(SPEC, source, home)
    assert locate(FAST, "auto").name == "acdc"
    assert locate(FAST, "real").name == "acdc"
    assert locate(FAST, "phantom").name == "acdc-phantom"


def test_auto_does_not_hide_a_broken_cache_or_raw_files(home: Path) -> None:
    (home / "acdc").mkdir(parents=True)
    with pytest.raises(UserError, match=r"manifest\.json cannot be read"):
        locate(FAST, "auto")
    (home / "acdc" / "patient001_frame01.h5").touch()
    with pytest.raises(UserError, match="other files than a prepared cache"):
        locate(FAST, "auto")


@pytest.mark.parametrize("source_name", ["auto", "real"])
@pytest.mark.parametrize("by", ["argument", "environment"])
def test_a_given_root_without_the_dataset_is_an_error(source_name, by, root: Path, monkeypatch) -> None:
    if by == "environment":
        monkeypatch.setenv("MEDBENCH_DATA", str(root))
    with pytest.raises(UserError, match="No prepared acdc"):
        locate(FAST, source_name, root if by == "argument" else None)
    assert names(root) == []


def test_real_without_data_and_unknown_sources_are_errors(home: Path) -> None:
    with pytest.raises(UserError, match=r"prepare acdc --from DIR`, or"):
        locate(FAST, "real")
    with pytest.raises(UserError, match="Did you mean: phantom"):
        locate(FAST, "phantoms")


def test_phantoms_are_reused_and_redrawn_when_their_version_changes(root: Path) -> None:
    first = locate(FAST, "phantom", root)
    inode = (first.folder / "images.npy").stat().st_ino
    locate(FAST, "phantom", root)
    assert (first.folder / "images.npy").stat().st_ino == inode
    newer = replace(FAST, phantom_version=FAST.phantom_version + 1)
    assert locate(newer, "phantom", root).manifest["phantom_version"] == FAST.phantom_version + 1
    assert (first.folder / "images.npy").stat().st_ino != inode
    assert names(root) == ["acdc-phantom"]


def test_broken_phantoms_say_so(root: Path) -> None:
    folder = locate(FAST, "phantom", root).folder
    os.truncate(folder / "labels.npy", 100)
    with pytest.raises(UserError, match="Delete the folder"):
        locate(FAST, "phantom", root)


def test_the_loser_of_a_race_uses_the_winners(root: Path) -> None:
    """Another process finishes between our drawing and our renaming."""
    draw = FAST.draw_phantom

    def slow(folder: Path, seed: int) -> None:
        draw(folder, seed)
        if not (root / "acdc-phantom").exists():
            locate(FAST, "phantom", root)

    data = locate(replace(FAST, draw_phantom=slow), "phantom", root)
    assert data.kept
    assert verify(data) == []
    assert names(root) == ["acdc-phantom"]


def test_processes_that_draw_at_once_agree(root: Path) -> None:
    # An executor ends with an error where its processes cannot start; a Pool would wait for ever.
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        fingerprints = list(executor.map(located_fingerprint, [str(root)] * 4))
    assert len(set(fingerprints)) == 1
    assert names(root) == ["acdc-phantom"]
