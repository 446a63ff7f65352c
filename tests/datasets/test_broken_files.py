"""Broken, misnamed and foreign files: each reader ends in one line with the true reason, exit code 2, nothing left."""

from __future__ import annotations

import gzip
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli.main import main
from bench.datasets.readers import files, nifti
from bench.datasets.readers.files import read_h5, read_npz
from bench.datasets.readers.images import read_image
from bench.datasets.readers.kinds import kind_of
from bench.datasets.readers.masks import read_mask
from bench.datasets.readers.metadata import read_table
from bench.datasets.readers.nifti import read_nifti
from bench.errors import UserError

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
HTML = b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body></body></html>\n" * 9
DICOM = bytes(128) + b"DICM" + bytes(range(256)) * 3


def one_line(*arguments: str | Path) -> str:
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr
    return result.stderr


def plain(change: Callable[[nibabel.Nifti1Image], None] | None = None, dtype: object = np.uint8) -> bytes:
    """A .nii of 5 x 6 x 3 voxels in 1.5 x 1.25 x 9 mm."""
    image = nibabel.Nifti1Image(np.zeros((5, 6, 3), np.dtype(dtype)), np.diag([1.5, 1.25, 9, 1]), dtype=dtype)
    if change:
        change(image)
    return image.to_bytes()


def with_shape(*shape: int) -> bytes:
    """A header that claims a shape above the voxels of 5 x 6 x 3."""
    content = bytearray(plain())
    content[40:56] = np.array([len(shape), *shape, *[1] * (7 - len(shape))], "<i2").tobytes()
    return bytes(content)


def saved(cls: type, extension: str) -> bytes:
    files = cls.make_file_map({key: io.BytesIO() for key in ("header", "image")})
    cls(np.zeros((5, 6, 3), np.int16), np.eye(4)).to_file_map(files)
    return files[extension].fileobj.getvalue()


# What lies in a file named .nii.gz -> what the line has to say.
GZ = {
    "empty": (b"", "is empty (0 bytes)"),
    "LFS pointer": (LFS, "a Git LFS pointer, not the file itself: fetch the file with `git lfs pull`"),
    "annex pointer": (b"/annex/objects/MD5E-s1--00.nii.gz\n", "a git-annex pointer"),
    "HTML": (HTML, "an HTML page, as a download without a login leaves it"),
    "zeros": (bytes(4000), "zeros from its first byte on"),
    "plain NIfTI": (plain(), "it is a NIfTI file that is not compressed: name it .nii"),
    "DICOM": (DICOM, "it is a DICOM file: convert the series to NIfTI"),
    "npz": (b"PK\x03\x04" + bytes(22) + b"\5\0\0\0a.npy" + bytes(99), "it is an .npz archive"),
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(99), "it is a PNG image"),
    "text": (b"no image at all", "begins with b'no image at ', not as gzip data"),
    "gzip of text": (gzip.compress(b"no image" * 99), "unpacked it begins with b'no imageno i', not as a NIfTI file"),
    "gzip of gzip": (gzip.compress(gzip.compress(plain())), "unpacked it is gzip data"),
    "gzip of LFS": (gzip.compress(LFS), "unpacked it is a Git LFS pointer"),
    "gzip of HTML": (gzip.compress(HTML), "unpacked it is an HTML page"),
    "gzip of DICOM": (gzip.compress(DICOM), "unpacked it is a DICOM file"),
    "Analyze": (gzip.compress(saved(nibabel.AnalyzeImage, "header")), "an Analyze 7.5 header"),
    "NIfTI pair": (gzip.compress(saved(nibabel.Nifti1Pair, "header")), "the header of a NIfTI pair"),
    "truncated gzip": (gzip.compress(plain())[:-40], "Compressed file ended before"),
    "gzip header alone": (gzip.compress(plain())[:10], "Compressed file ended before"),
    "wrong checksum": (gzip.compress(plain())[:-8] + b"\1\2\3\4" + gzip.compress(plain())[-4:], "CRC check failed"),
    "half of the voxels": (gzip.compress(plain()[:390]), "its header promises 442 bytes, there are 390"),
    "header alone": (gzip.compress(plain()[:348]), "its header promises 442 bytes, there are 348"),
    "half a header": (gzip.compress(plain()[:200]), "cannot be read"),
    "4-D": (gzip.compress(with_shape(5, 6, 1, 3)), "to be a volume of 3 axes, but it has shape (5, 6, 1, 3)"),
    "5-D": (gzip.compress(with_shape(5, 6, 1, 1, 3)), "but it has shape (5, 6, 1, 1, 3)"),
    "1-D": (gzip.compress(with_shape(90)), "but it has shape (90,)"),
    "no voxels": (gzip.compress(with_shape(5, 0, 3)), "to have voxels, but it has shape (5, 0, 3)"),
    "negative axis": (gzip.compress(with_shape(5, -6, 3)), "to have voxels, but it has shape (5, -6, 3)"),
    "bomb": (gzip.compress(with_shape(32000, 32000, 32000)), "to have at most 1,073,741,824 voxels"),
    "claims": (gzip.compress(with_shape(900, 900, 900)), "its header promises 729,000,352 bytes, there are 442"),
    "RGB": (gzip.compress(plain(dtype=np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))), "it has colours (RGB)"),
    "complex": (gzip.compress(plain(dtype=np.complex64)), "it has complex numbers"),
    "unknown type": (gzip.compress(plain()[:70] + b"\x07\x07" + plain()[72:]), "data code 1799 not"),
}
PLAIN = {
    "gzip": (gzip.compress(plain()), "it is gzip data: if it holds NIfTI, name it .nii.gz"),
    "LFS pointer": (LFS, "`git lfs pull`"),
    "HTML": (HTML, "an HTML page"),
    "truncated": (plain()[:-1], "its header promises 442 bytes, there are 441"),
    "empty": (b"", "is empty"),
}
BROKEN = [
    pytest.param(name, *case, id=f"{way}{name}")
    for name, cases in (("a.nii.gz", GZ), ("a.nii", PLAIN))
    for way, case in ((f"{way} as ", case) for way, case in cases.items())
]


@pytest.mark.parametrize(("name", "content", "said"), BROKEN)
def test_evaluate_says_what_a_file_is(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    for folder in ("pred", "label"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(gzip.compress(plain()) if name.endswith(".gz") else plain())
    (tmp_path / "pred" / name).write_bytes(content)
    line = one_line("evaluate", "--pred", tmp_path / "pred", "--label", tmp_path / "label", "--classes", "b,a")
    assert said in line
    assert str(tmp_path / "pred" / name) in line


@pytest.mark.parametrize("file", ["patient101_frame01.nii.gz", "patient101_frame09_gt.nii.gz"])
@pytest.mark.parametrize(("content", "said"), GZ.values(), ids=GZ)
def test_prepare_says_what_a_file_is(file: str, content: bytes, said: str, writers, volumes, tmp_path: Path) -> None:
    folder = writers["nifti"](tmp_path / "acdc", volumes)
    path = folder / "training" / "patient101" / file
    path.write_bytes(content)
    line = one_line("data", "prepare", "acdc", "--from", folder, "--data-root", tmp_path / "root")
    assert said in line
    assert str(path) in line
    assert not list((tmp_path / "root").iterdir())


@pytest.mark.parametrize("place", ["img/img0001.nii.gz", "label/label0001.nii.gz"])
@pytest.mark.parametrize("way", ["LFS pointer", "HTML", "plain NIfTI", "truncated gzip", "bomb"])
def test_the_challenge_s_files_of_synapse_say_what_they_are(place: str, way: str, tmp_path: Path) -> None:
    for name in ("img/img0001.nii.gz", "label/label0001.nii.gz"):
        (tmp_path / "raw" / name).parent.mkdir(parents=True)
        (tmp_path / "raw" / name).write_bytes(gzip.compress(plain()))
    content, said = GZ[way]
    (tmp_path / "raw" / place).write_bytes(content)
    line = one_line("data", "prepare", "synapse", "--from", tmp_path / "raw", "--data-root", tmp_path / "root")
    assert said in line
    assert place in line


def h5_bytes() -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["image"] = file["other"] = np.zeros((4, 4))
    return buffer.getvalue()


def npz_bytes() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, image=np.zeros((40, 40)))
    return buffer.getvalue()


READERS = {
    "h5": lambda path: read_h5(path, ("image",)),
    "npz": lambda path: read_npz(path, ("image",)),
    "csv": lambda path: read_table(path, ("File name",)),
    "nii.gz": read_nifti,
    "png": lambda path: read_image(path, 1),
    "mask.png": read_mask,
}


@pytest.mark.parametrize(
    ("ending", "content", "said"),
    [
        *((ending, LFS, "`git lfs pull`") for ending in READERS),
        *((ending, HTML, "an HTML page") for ending in READERS),
        *((ending, b"", "is empty (0 bytes)") for ending in READERS),
        ("h5", npz_bytes(), "to be an HDF5 file, but it is an .npz archive"),
        ("h5", bytes(4000), "zeros from its first byte on"),
        ("h5", h5_bytes()[:700], "may be truncated"),
        ("h5", b"free text", "begins with b'free text', not as an HDF5 file"),
        ("h5", h5_bytes().replace(b"other", b"\xff\xfe\xff\xfe\xff").replace(b"image", b"imago"), "image is missing"),
        ("npz", h5_bytes(), "but it is an HDF5 file"),
        ("npz", gzip.compress(npz_bytes()), "but it is gzip data"),
        ("npz", npz_bytes()[:900], "may be truncated"),
        ("npz", b"free text", "begins with b'free text', not as an .npz archive"),
    ],
)
def test_every_reader_names_what_it_got(ending: str, content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        READERS[ending](path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    path.unlink()
    path.symlink_to(tmp_path / "annex" / "objects" / "x")
    with pytest.raises(UserError, match="is a link to a file that is not there"):
        READERS[ending](path)


def test_memory_is_asked_for_only_where_the_voxels_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What unpacks without end is left after so many bytes, whatever its header promises."""
    monkeypatch.setattr(nifti, "MOST_VOXELS", 2**17)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(with_shape(64, 64, 33) + bytes(2**24)))
    with pytest.raises(UserError, match="to have at most 131,072 voxels"):
        read_nifti(path)


def test_arrays_larger_than_any_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:  # 2**50 values that were never written
        file.create_dataset("image", (2**20, 2**20, 2**10), "f4", chunks=(64, 64, 64))
    with pytest.raises(UserError, match=r"image in .*a\.h5 to have at most 1,073,741,824 values, but it has 1,125,8"):
        READERS["h5"](tmp_path / "a.h5")
    monkeypatch.setattr(files, "MOST_VOXELS", 2**10)
    np.savez_compressed(tmp_path / "a.npz", image=np.zeros(2**12))
    with pytest.raises(UserError, match=r"image in .*a\.npz to have at most 1,024 values"):
        READERS["npz"](tmp_path / "a.npz")


def test_any_damaged_header_is_read_or_told(tmp_path: Path) -> None:
    """Warnings are errors here, so that no arithmetic on what a header holds goes astray."""
    rng, outcomes, path = np.random.default_rng(0), set(), tmp_path / "a.nii"
    image = nibabel.Nifti1Image(np.zeros((5, 6, 3), np.uint8), np.diag([1.5, 1.25, 9, 1]))
    image.set_qform(image.affine, 1)
    for k in range(200):
        content = bytearray(image.to_bytes())
        for position in rng.integers(0, 352, 4):
            content[position] = rng.choice([0, 1, 127, 128, 255])
        path.write_bytes(content)
        try:
            read_nifti(path, (1.0, 1.0, 1.0) if k % 2 else None)
            outcomes.add("read")
        except UserError as error:
            outcomes.add(f"told in {str(error).count(chr(10))} further lines")
    assert outcomes == {"read", "told in 0 further lines"}


@pytest.mark.parametrize("cls", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII", "A.NII.GZ", "a.Nii.Gz"])
@pytest.mark.parametrize("trailing", [(), (1,), (1, 1)])
def test_both_formats_under_any_ending(cls: type, name: str, trailing: tuple[int, ...], tmp_path: Path) -> None:
    voxels = np.arange(90, dtype=np.int16).reshape(5, 6, 3)
    image = cls(voxels.reshape(*voxels.shape, *trailing), np.diag([1.5, 1.25, 9, 1]))
    content = image.to_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.lower().endswith("gz") else content)
    volume = read_nifti(tmp_path / name)
    np.testing.assert_array_equal(volume.array, voxels.transpose(2, 1, 0))
    assert volume.spacing == (9.0, 1.25, 1.5)
    assert volume.doubt == volume.scaling == ""


def test_a_file_that_unpacking_put_into_a_folder_of_its_name(writers, volumes, tmp_path: Path) -> None:
    folder = writers["nifti"](tmp_path / "acdc", volumes)
    for path in sorted(folder.rglob("*.nii.gz")):
        content = gzip.decompress(path.read_bytes())
        path.unlink()
        plain_name = path.with_suffix("")  # c.nii/c.nii
        plain_name.mkdir()
        (plain_name / plain_name.name).write_bytes(content)
    deep = tmp_path / "download" / "ACDC" / "database"
    shutil.copytree(folder, deep)
    (tmp_path / "download" / "ACDC" / "notes").mkdir()
    result = CliRunner().invoke(
        main, ["data", "prepare", "acdc", "--from", str(tmp_path / "download"), "--data-root", str(tmp_path / "root")]
    )
    assert result.exit_code == 0, result.output
    assert "2 patients, 4 volumes" in result.output


def test_kinds_are_told_by_bytes() -> None:
    assert kind_of(plain()) == "NIfTI"
    assert kind_of(nibabel.Nifti2Image(np.zeros((2, 2, 2)), np.eye(4)).to_bytes()) == "NIfTI"
    big = nibabel.Nifti1Header(endianness=">").binaryblock
    assert kind_of(big) in ("NIfTI", "NIfTI pair")
    assert kind_of(h5_bytes()) == "HDF5"
    assert kind_of(npz_bytes()) == "npz"
    assert kind_of(b"a,b\n1,2\n") is None
    assert kind_of(b"") is None
