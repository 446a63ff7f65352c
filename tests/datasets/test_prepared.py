"""The cache: what is written comes back, nothing half-written stays, and damage is found."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.datasets.base import RawCase
from bench.datasets.cache import prepared as module
from bench.datasets.cache.prepared import locate, open_prepared, prepare, verify
from bench.datasets.readers.acdc import SPEC
from bench.errors import UserError


def reading(change: Callable[[int, RawCase], RawCase]) -> object:
    """The specification with a changed reader."""

    def list_cases(folder: Path, layout: str) -> list[Callable[[], RawCase]]:
        reads = SPEC.list_cases(folder, layout)
        return [lambda i=i, read=read: change(i, read()) for i, read in enumerate(reads)]

    return replace(SPEC, list_cases=list_cases)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_comes_back(source: Path, root: Path, volumes) -> None:
    seen: list[tuple[str, int, int]] = []
    data = prepare(SPEC, source, root, report=lambda *progress: seen.append(progress))
    assert names(root) == ["acdc"]
    assert names(data.folder) == ["images.npy", "labels.npy", "manifest.json"]
    assert (data.name, data.kind, data.layout, data.kept) == ("acdc", "real", "ssl4mis", False)
    assert seen == [(case, i + 1, 4) for i, case in enumerate(sorted(volumes))]
    for i, c in enumerate(data.cases):
        image, label = volumes[c.case]
        np.testing.assert_array_equal(data.image(i), image)
        np.testing.assert_array_equal(data.label(i), label)
        assert c.shape == image.shape
        assert c.voxels == tuple(np.bincount(label.ravel(), minlength=4))
        assert c.spacing is None
    assert data.label(0).dtype == np.uint8
    assert verify(data) == []


def test_views_are_read_only(source: Path, root: Path) -> None:
    data = prepare(SPEC, source, root)
    with pytest.raises(ValueError, match="read-only"):
        data.image(0)[0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        data.label(0)[0, 0, 0] = 1


def test_the_manifest_says_what_is_there_and_nothing_of_the_machine(source: Path, root: Path) -> None:
    data = prepare(SPEC, source, root)
    text = (data.folder / "manifest.json").read_text()
    assert str(root.parent) not in text
    assert json.loads(text) == data.manifest
    assert data.manifest["counts"] == {"cases": 4, "patients": 2, "slices": 12, "voxels": 4 * 90}
    entry = data.manifest["cases"][0]
    path = source / "data" / "slices" / "patient101_frame01_slice_1.h5"
    assert entry["files"][path.relative_to(source).as_posix()] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert entry["label_sha256"] == hashlib.sha256(data.label(0).tobytes()).hexdigest()


def test_two_places_give_the_same_bytes(source: Path, root: Path, tmp_path: Path) -> None:
    first, second = prepare(SPEC, source, root), prepare(SPEC, source, tmp_path / "other" / "deep")
    for name in names(first.folder):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()


def test_the_fingerprint_is_the_contents(source: Path, root: Path, writers, volumes, tmp_path: Path) -> None:
    ssl4mis = prepare(SPEC, source, root).fingerprint
    assert len(ssl4mis) == 12
    mtunet = prepare(SPEC, writers["mtunet"](tmp_path / "m", volumes), root, name="m")
    assert mtunet.fingerprint == ssl4mis  # the same voxels, read from other files
    changes = [
        lambda i, c: replace(c, image=c.image + (i == 1)),
        lambda i, c: replace(c, label=c.label * (i != 1)),
        lambda i, c: replace(c, spacing=(9.0, 1.0, 1.0)),
        lambda i, c: replace(c, patient="999" if i == 3 else c.patient),
        lambda i, c: replace(c, image=c.image.reshape(-1, 5, 6), label=c.label.reshape(-1, 5, 6)),
    ]
    others = [prepare(reading(f), source, root, name=f"n{k}").fingerprint for k, f in enumerate(changes)]
    assert len({ssl4mis, *others}) == 1 + len(changes)


def test_the_same_content_is_kept(source: Path, root: Path) -> None:
    first = prepare(SPEC, source, root)
    before = (first.folder / "images.npy").stat()
    second = prepare(SPEC, source, root)
    assert second.kept
    assert (second.folder / "images.npy").stat().st_ino == before.st_ino
    assert names(root) == ["acdc"]


def test_other_content_needs_replace(source: Path, root: Path) -> None:
    first = prepare(SPEC, source, root)
    changed = reading(lambda i, c: replace(c, image=c.image + 1))
    with pytest.raises(UserError, match=f"{first.fingerprint}.*--replace"):
        prepare(changed, source, root)
    assert open_prepared(SPEC, root).fingerprint == first.fingerprint
    second = prepare(changed, source, root, replace=True)
    assert not second.kept
    assert open_prepared(SPEC, root).fingerprint == second.fingerprint != first.fingerprint
    assert names(root) == ["acdc"]


def test_a_folder_that_is_no_cache_is_never_replaced(source: Path, root: Path) -> None:
    (root / "acdc").mkdir()
    (root / "acdc" / "precious.nii.gz").touch()
    with pytest.raises(UserError, match="not a medbench cache"):
        prepare(SPEC, source, root, replace=True)
    assert names(root / "acdc") == ["precious.nii.gz"]


@pytest.mark.parametrize("failure", [UserError("bad"), KeyboardInterrupt(), RuntimeError("bug")])
@pytest.mark.parametrize("before", [False, True])
def test_an_interruption_leaves_what_was_there(failure, before, source: Path, root: Path) -> None:
    if before:
        prepare(SPEC, source, root)

    def fail(i: int, case: RawCase) -> RawCase:
        if i == 2:
            raise failure
        return case

    with pytest.raises(type(failure)):
        prepare(reading(fail), source, root, replace=True)
    partial = [f"acdc.tmp-{os.getpid()}"] if isinstance(failure, KeyboardInterrupt) else []
    assert names(root) == (["acdc"] if before else []) + partial
    if before:
        assert verify(open_prepared(SPEC, root)) == []


def interrupted(source: Path, root: Path, at: int) -> list[int]:
    """Prepares until the case `at`, where Ctrl-C comes; then again to the end: the cases that were then read."""

    def stop(i: int, case: RawCase) -> RawCase:
        if i == at:
            raise KeyboardInterrupt
        return case

    read: list[int] = []

    def note(i: int, case: RawCase) -> RawCase:
        read.append(i)
        return case

    with pytest.raises(KeyboardInterrupt):
        prepare(reading(stop), source, root)
    prepare(reading(note), source, root)
    return sorted(read)


def test_an_interrupted_preparation_goes_on_behind_what_is_finished(source: Path, root: Path, tmp_path: Path) -> None:
    whole = prepare(SPEC, source, tmp_path / "whole")
    assert interrupted(source, root, at=2) == [2, 3]
    assert names(root) == ["acdc"]
    for name in ("manifest.json", "images.npy", "labels.npy"):
        assert (root / "acdc" / name).read_bytes() == (whole.folder / name).read_bytes()


@pytest.mark.parametrize("name", ["progress.jsonl", "images.npy", "labels.npy"])
def test_what_an_interrupted_preparation_left_is_not_believed(name: str, source: Path, root: Path) -> None:
    def stop(i: int, case: RawCase) -> RawCase:
        if i == 3:
            raise KeyboardInterrupt
        return case

    with pytest.raises(KeyboardInterrupt):
        prepare(reading(stop), source, root)
    left = root / f"acdc.tmp-{os.getpid()}" / name
    content = bytearray(left.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 4] = b"\0\1\2\3"
    left.write_bytes(content)
    assert verify(prepare(SPEC, source, root)) == []


def test_a_changed_source_is_prepared_from_the_start(source: Path, root: Path) -> None:
    def stop(i: int, case: RawCase) -> RawCase:
        if i == 2:
            os.utime(next(path for path in source.rglob("*") if path.is_file()), (1, 1))
            raise KeyboardInterrupt
        return case

    read: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        prepare(reading(stop), source, root)
    prepare(reading(lambda i, case: read.append(i) or case), source, root)
    assert sorted(read) == [0, 1, 2, 3]


def test_leftovers_of_dead_processes_are_removed_and_of_living_ones_kept(source: Path, root: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for pid in (gone.pid, os.getpid(), os.getppid()):
        (root / f"acdc.tmp-{pid}").mkdir()
    prepare(SPEC, source, root)
    assert names(root) == ["acdc", f"acdc.tmp-{os.getppid()}"]


def test_an_unwritable_root_is_one_line(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="Cannot write the cache under"):
        prepare(SPEC, source, tmp_path / "file" / "root")


# -- damage


def test_nothing_there_names_the_command(root: Path) -> None:
    with pytest.raises(UserError, match=r"medbench data prepare acdc --from DIR --data-root"):
        open_prepared(SPEC, root)


def test_original_files_in_the_place_of_a_cache(source: Path, root: Path) -> None:
    source.rename(root / "acdc")
    with pytest.raises(UserError, match=f"prepare acdc --from {root / 'acdc'}"):
        open_prepared(SPEC, root)


def edit(folder: Path, change: Callable[[dict], object]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


DAMAGE = {
    "no manifest": lambda f: (f / "manifest.json").unlink(),
    "half a manifest": lambda f: (f / "manifest.json").write_text((f / "manifest.json").read_text()[:300]),
    "a list": lambda f: (f / "manifest.json").write_text("[]"),
    "no cases": lambda f: edit(f, lambda m: m.pop("cases")),
    "other version": lambda f: edit(f, lambda m: m.update(preparation_version=0)),
    "other hash": lambda f: edit(f, lambda m: m["cases"][0].update(image_sha256="0")),
    "other offset": lambda f: edit(f, lambda m: m["cases"][1].update(offset=3)),
    "other dataset": lambda f: edit(f, lambda m: m.update(dataset="synapse")),
    "no images": lambda f: (f / "images.npy").unlink(),
    "short images": lambda f: os.truncate(f / "images.npy", 1000),
    "empty labels": lambda f: os.truncate(f / "labels.npy", 0),
    "few labels": lambda f: np.save(f / "labels.npy", np.zeros(5, np.uint8)),
    "wide labels": lambda f: np.save(f / "labels.npy", np.zeros(360, np.int64)),
    "pickled labels": lambda f: np.save(f / "labels.npy", np.array([{}] * 360, dtype=object)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_broken_cache_names_replace_and_replace_mends_it(damage: str, source: Path, root: Path) -> None:
    folder = prepare(SPEC, source, root).folder
    DAMAGE[damage](folder)
    for use in (lambda: open_prepared(SPEC, root), lambda: locate(SPEC, "auto", root)):
        with pytest.raises(UserError, match="--replace") as caught:
            use()
        assert "\n" not in str(caught.value)
    assert verify(prepare(SPEC, source, root, replace=True)) == []


CUT_WHILE_OPEN = """
import os, sys
from pathlib import Path
from bench.datasets.cache.prepared import open_prepared
from bench.datasets.readers.acdc import SPEC
data = open_prepared(SPEC, Path(sys.argv[1]))
data.image(3)
for name in ("images.npy", "labels.npy"):
    os.truncate(data.folder / name, 200)
for read in (data.image, data.label):
    try:
        print(read(3).sum())
    except Exception as error:
        print(error)
"""


def test_a_cache_that_is_cut_while_it_is_open_is_an_error_and_no_bus_error(source: Path, root: Path) -> None:
    prepare(SPEC, source, root)
    done = subprocess.run([sys.executable, "-c", CUT_WHILE_OPEN, str(root)], capture_output=True, text=True)
    assert done.returncode == 0, done.returncode
    image, label = done.stdout.splitlines()
    assert "images.npy was cut: it ends in the middle of" in image
    assert "labels.npy was cut: it ends in the middle of" in label
    assert "--replace" in image


@pytest.mark.parametrize(("array", "what"), [("images.npy", "image"), ("labels.npy", "label")])
def test_verify_names_the_case_of_a_flipped_byte(array: str, what: str, source: Path, root: Path) -> None:
    data = prepare(SPEC, source, root)
    path = data.folder / array
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    (problem,) = verify(open_prepared(SPEC, root))
    assert f"the {what} of patient102_ES" in problem


# -- where


def test_real_data_in_the_cache(real_data: Path, root: Path) -> None:
    data = prepare(SPEC, real_data / "acdc", root)
    assert (len(data.cases), data.layout) == (76, "ssl4mis")
    assert (data.manifest["counts"]["patients"], data.manifest["counts"]["slices"]) == (38, 714)
    assert verify(data) == []
    assert module.open_prepared(SPEC, root).fingerprint == data.fingerprint
