"""Archives as sources: unpacked with every name and size checked, and gone afterwards."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bench.datasets.cache import archives
from bench.datasets.cache.archives import opened
from bench.datasets.cache.prepared import compare_source, prepare, verify
from bench.datasets.readers.acdc import SPEC
from bench.errors import UserError


def packed(path: Path, files: dict[str, bytes], **how: int) -> Path:
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def refused(source: Path, root: Path) -> str:
    with pytest.raises(UserError) as caught, opened(source, root):
        raise AssertionError("was opened")
    assert "\n" not in str(caught.value)
    assert not [path for path in root.rglob("*") if path != source], "something was left"
    return str(caught.value)


def test_an_archive_prepares_like_its_folder(tmp_path: Path, writers, volumes) -> None:
    folder = writers["mtunet"](tmp_path / "folder", volumes)
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    source = packed(tmp_path / "ACDC.zip", files)
    of_zip, of_folder = prepare(SPEC, source, tmp_path / "a"), prepare(SPEC, folder, tmp_path / "b")
    assert of_zip.manifest == of_folder.manifest
    assert verify(of_zip) == []
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["acdc"]


@pytest.mark.parametrize("wrapper", ["", "ACDC-master/", "a/b/"])
def test_what_wraps_the_files_is_of_no_account(wrapper: str, tmp_path: Path, writers, volumes) -> None:
    folder = writers["nifti"](tmp_path / "folder", volumes)
    files = {wrapper + p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    source = packed(tmp_path / "ACDC.zip", {**files, "__MACOSX/._x": b"", ".DS_Store": b""})
    first = prepare(SPEC, folder, tmp_path / "root")
    assert prepare(SPEC, source, tmp_path / "root").kept
    assert compare_source(first, source, tmp_path / "root") == []


def test_changed_missing_and_new_original_files_are_told(tmp_path: Path, writers, volumes) -> None:
    folder = writers["mtunet"](tmp_path / "folder", volumes)
    data = prepare(SPEC, folder, tmp_path / "root")
    train, test = sorted((folder / "ACDC" / "train").iterdir()), folder / "ACDC" / "test"
    train[0].write_bytes(train[1].read_bytes())
    for phase in ("ED", "ES"):
        content = (test / f"case_102_volume_{phase}.npz").read_bytes()
        (test / f"case_103_volume_{phase}.npz").write_bytes(content)
    changes = compare_source(data, folder, tmp_path / "root")
    assert changes == ["ACDC/train/case_101_sliceED_0.npz is missing or changed", "it has 2 cases more"]
    nifti = writers["nifti"](tmp_path / "other", volumes)
    assert compare_source(data, nifti, tmp_path / "root") == ["its layout is nifti, not mtunet"]


def test_a_bad_file_in_an_archive_is_named_with_the_archive(tmp_path: Path) -> None:
    files = {f"train/case_101_slice{phase}_0.npz": b"no npz" for phase in ("ED", "ES")}
    source = packed(tmp_path / "ACDC.zip", files)
    with pytest.raises(UserError, match=rf"{source}/train/case_101_sliceED_0.npz cannot be read"):
        prepare(SPEC, source, tmp_path / "root")


@pytest.mark.parametrize(
    "name",
    [
        *("../evil.png", "/evil.png", "a/../../evil.png", "C:/evil.png", "C:evil.png"),
        *("..\\evil.png", "\\evil.png", "a\\..\\..\\evil.png", "C:\\evil.png", "a/..\\../evil.png"),
        *("\\\\host\\share\\evil.png", "//host/share/evil.png", "\\\\?\\C:\\evil.png"),
    ],
)
def test_names_that_lead_out_are_refused(name: str, tmp_path: Path) -> None:
    source = packed(tmp_path / "a.zip", {"good.png": b"1", name: b"2"})
    assert "which leads out of it" in refused(source, tmp_path)
    assert not (tmp_path.parent / "evil.png").exists()


@pytest.mark.parametrize("name", [".", "./", ".\\."])
def test_names_of_no_file_are_refused(name: str, tmp_path: Path) -> None:
    info = zipfile.ZipInfo("x")
    info.filename = name.rstrip("/") if name == "./" else name
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, b"1")
    assert "which names no file" in refused(tmp_path / "a.zip", tmp_path)


def test_backslashes_are_taken_as_separators(tmp_path: Path, writers, volumes) -> None:
    """As tools on Windows write them; folders have entries of their own."""
    folder = writers["nifti"](tmp_path / "folder", volumes)
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    folders = dict.fromkeys(("training\\", "training\\patient101\\"), b"")
    source = packed(tmp_path / "ACDC.zip", folders | {name.replace("/", "\\"): files[name] for name in files})
    of_zip, of_folder = prepare(SPEC, source, tmp_path / "a"), prepare(SPEC, folder, tmp_path / "b")
    assert of_zip.manifest == of_folder.manifest


def test_a_name_twice_or_a_file_as_a_folder_is_refused(tmp_path: Path) -> None:
    source = packed(tmp_path / "a.zip", {"a/b.png": b"1", "a\\b.png": b"2"})
    assert "twice" in refused(source, tmp_path)
    source = packed(tmp_path / "a.zip", {"a": b"1", "a/b.png": b"2"})
    assert "has a file where 'a/b.png' needs a folder" in refused(source, tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "a Git LFS pointer"),
        (b"<html><body>Sign in</body></html>", "an HTML page"),
        (b"Rar!\x1a\x07\x01\0" + bytes(99), "a RAR archive: unpack it"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(99), "a 7z archive"),
        (bytes(257) + b"ustar\x0000" + bytes(300), "a tar archive"),
        (b"\x1f\x8b\x08" + bytes(99), "gzip data"),
        (b"", "is empty (0 bytes)"),
    ],
)
def test_what_is_no_zip_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    assert said in refused(tmp_path / "a.zip", tmp_path)


def test_any_damage_is_one_line_or_none(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "a.zip"
    how = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2]
    for k in range(60):
        content = bytearray(
            packed(path, {f"a/{i}.png": bytes(range(99)) for i in range(3)}, compression=how[k % 4]).read_bytes()
        )
        for position in rng.integers(0, len(content), 5):
            content[position] = rng.integers(0, 256)
        path.write_bytes(content)
        try:
            with opened(path, tmp_path):
                pass
        except UserError as error:
            told = str(error)
            assert str(path) in told
    assert told


def test_links_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "the link 'link'" in refused(tmp_path / "a.zip", tmp_path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LARGE", 2**20)
    source = packed(tmp_path / "a.zip", {"zeros.png": bytes(2**21)}, compression=zipfile.ZIP_DEFLATED)
    assert "would unpack to 1 files of 2,097,152 bytes" in refused(source, tmp_path)


def test_more_than_the_disk_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = packed(tmp_path / "a.zip", {"a.png": bytes(100)})
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 99}))
    assert "only 99 are free" in refused(source, tmp_path)


def test_damage_is_one_line(tmp_path: Path) -> None:
    content = packed(tmp_path / "a.zip", {f"{i}.png": bytes(range(256)) * 9 for i in range(9)}).read_bytes()
    (tmp_path / "a.zip").write_bytes(content[: len(content) // 2])
    assert "neither; if it is the download, it may be truncated" in refused(tmp_path / "a.zip", tmp_path)
    (tmp_path / "a.zip").write_bytes(content[:1000] + b"\xff\xff" + content[1002:])
    assert "is damaged, download it anew" in refused(tmp_path / "a.zip", tmp_path)


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        prepare(SPEC, tmp_path / "nowhere", tmp_path)
