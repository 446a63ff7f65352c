"""Files and folders as users have them: each is read, or ends in one line with the true reason, and nothing hangs."""

from __future__ import annotations

import io
import json
import os
import shutil
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from bench.cli.main import main
from bench.datasets.cache.archives import opened
from bench.datasets.cache.prepared import compare_source, open_prepared, prepare, verify
from bench.datasets.cache.resuming import source_state
from bench.datasets.readers import acdc, files, large_covid, msld, sars_cov2_ct
from bench.datasets.readers.files import read_h5, read_npz, readable
from bench.datasets.readers.folders import find_table
from bench.datasets.readers.metadata import read_table
from bench.datasets.readers.nifti import read_nifti
from bench.datasets.readers.png import check_png
from bench.errors import UserError

NAMES = ("COVID/Covid (1).png", "COVID/Covid (2).png", "non-COVID/Non-Covid (1).png", "non-COVID/Non-Covid (2).png")


def one_line(*arguments: str | Path) -> str:
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert result.stderr.startswith("Error: ")
    return result.stderr


@pytest.fixture
def sars(tmp_path: Path) -> Path:
    """Four drawn images."""
    rng = np.random.default_rng(0)
    for name in NAMES:
        path = tmp_path / "sars" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 20), dtype=np.uint8)).save(path)
    return tmp_path / "sars"


@pytest.fixture
def root(tmp_path: Path, sars: Path) -> Path:
    """A root with the four images prepared."""
    (tmp_path / "root").mkdir()
    prepare(sars_cov2_ct.SPEC, sars, tmp_path / "root")
    return tmp_path / "root"


# -- arrays --------------------------------------------------------------------------------------------------


def test_a_member_that_is_no_array_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("img.npy", b"no array")
    with pytest.raises(UserError, match=r"Expected img in .* to be an array, but it is damaged"):
        read_npz(path, ("img",))


def test_arrays_in_other_files_are_not_followed(tmp_path: Path) -> None:
    """A pipe behind a link would be waited for without end."""
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["image"] = h5py.ExternalLink(str(tmp_path / "pipe"), "x")
    with pytest.raises(UserError, match="image is missing"):
        read_h5(tmp_path / "link.h5", ("image",))
    with h5py.File(tmp_path / "soft.h5", "w") as file:
        file["sub/away"] = h5py.ExternalLink(str(tmp_path / "pipe"), "/")
        file["sub/near"] = h5py.SoftLink("away/x")
        for key, way in {"image": "/sub/away/x", "b": "sub/near", "c": "/image", "d": "d", "e": "nothing"}.items():
            file[key] = h5py.SoftLink(way)
    for key in "image", "b", "c", "d", "e":
        with pytest.raises(UserError, match=rf"{key} is missing \(it has: none\)"):
            read_h5(tmp_path / "soft.h5", (key,))
    with h5py.File(tmp_path / "inside.h5", "w") as file:
        file["sub/data"] = np.arange(4)
        file["sub/near"], file["image"] = h5py.SoftLink("./data"), h5py.SoftLink("/sub/near")
    np.testing.assert_array_equal(read_h5(tmp_path / "inside.h5", ("image",))[0], np.arange(4))
    (tmp_path / "raw").write_bytes(bytes(64))
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file.create_dataset("image", (4, 4), "f4", external=[(str(tmp_path / "raw"), 0, 64)])
    with pytest.raises(UserError, match="to lie in that file"):
        read_h5(tmp_path / "raw.h5", ("image",))


def test_a_filter_that_is_not_there_is_no_damage(tmp_path: Path) -> None:
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk((4, 4))
    settings.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, ())  # Blosc
    with h5py.File(tmp_path / "a.h5", "w") as file:
        space = h5py.h5s.create_simple((4, 4))
        array = h5py.h5d.create(file.id, b"image", h5py.h5t.IEEE_F32LE, space, settings)
        array.write_direct_chunk((0, 0), bytes(64))
    with pytest.raises(UserError, match=r"needs the filter .*: save it with gzip") as error:
        read_h5(tmp_path / "a.h5", ("image",))
    assert "damaged" not in str(error.value)


@pytest.mark.parametrize(("make", "what"), [(os.mkfifo, "a pipe, socket or device"), (os.mkdir, "a folder")])
def test_what_is_no_file_is_not_called_missing(tmp_path: Path, make: Callable[[Path], None], what: str) -> None:
    make(tmp_path / "a")
    with pytest.raises(UserError, match=f"to be a file, but it is {what}"), readable(tmp_path / "a"):
        pytest.fail("it was opened")


def test_a_file_of_holes_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_BYTES", 2**20)
    image = io.BytesIO()
    Image.new("L", (9, 9)).save(image, "PNG")
    (tmp_path / "a.png").write_bytes(image.getvalue())
    (tmp_path / "a.csv").write_text("case,patient\n")
    for name in ("a.png", "a.csv"):
        os.truncate(tmp_path / name, 2**21)
    with pytest.raises(UserError, match="at most 1,048,576 bytes, but it has 2,097,152"):
        check_png(tmp_path / "a.png", lambda *_: None)
    with pytest.raises(UserError, match="at most 1,048,576 bytes"):
        read_table(tmp_path / "a.csv", ("case", "patient"))


def test_a_byte_order_mark_hides_no_phase(writers, volumes, tmp_path: Path) -> None:
    folder = writers["nifti"](tmp_path / "acdc", volumes)
    for path in folder.rglob("Info.cfg"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(acdc.list_cases(folder, "nifti")) == 4


@pytest.mark.filterwarnings("error")
def test_a_header_of_signalling_nans_prints_no_warning(tmp_path: Path) -> None:
    content = bytearray(nibabel.Nifti1Image(np.zeros((5, 6, 3), np.uint8), np.eye(4)).to_bytes())
    content[280:284] = bytes.fromhex("0100a07f")  # srow_x
    (tmp_path / "a.nii").write_bytes(content)
    assert read_nifti(tmp_path / "a.nii").doubt.startswith("voxels of 1 x 1 x 1 mm")


# -- tables --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"case;patient\r\nc1;M\xc3\xbcller, A.\r\nc2;b\r\n",
        "case\tpatient\nc1\tMüller, A.\nc2\tb\n".encode("utf-16"),
        b'\xef\xbb\xbf"case","patient"\nc1,"M\xc3\xbcller, A."\nc2,b\n',
        b'case,patient\nc1,"M\xfcller, A."\nc2,b\n',
        b'case , patient,\n c1 ," M\xc3\xbcller, A. ",\nc2,b,\n,,\n , ,\n',
    ],
)
def test_a_table_is_read_however_a_spreadsheet_saves_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    rows = read_table(tmp_path / "a.csv", ("case", "patient"))
    assert [(row["case"], row["patient"]) for row in rows] == [("c1", "Müller, A."), ("c2", "b")]


def test_a_column_twice_and_a_short_line_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("case,patient,patient\nc1,a,b\n")
    with pytest.raises(UserError, match="patient is there twice"):
        read_table(tmp_path / "a.csv", ("case", "patient"))
    (tmp_path / "a.csv").write_text("case,patient\n\nc1,a\nc2\n")
    with pytest.raises(UserError, match="line 4 is cut short"):
        read_table(tmp_path / "a.csv", ("case", "patient"))


def test_a_table_in_a_hidden_folder_is_not_the_table(tmp_path: Path) -> None:
    (tmp_path / ".old").mkdir()
    (tmp_path / ".old" / "t.csv").write_text("old")
    assert find_table(tmp_path, "t.csv") is None
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "t.csv").write_text("new")
    assert find_table(tmp_path, "t.csv") == tmp_path / "data" / "t.csv"
    (tmp_path / "t.csv").write_text("other")
    with pytest.raises(UserError, match=r"Expected one t.csv .* differ"):
        find_table(tmp_path, "t.csv")


def test_a_photograph_in_two_files_is_not_dropped(tmp_path: Path) -> None:
    for name in ("Monkey Pox/M01_01", "Others/NM01_01"):
        path = tmp_path / "Original Images" / f"{name}.jpg"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(path)
    Image.new("RGB", (9, 9), (1, 1, 1)).save(path.with_suffix(".png"))
    with pytest.raises(UserError, match=r"Expected each image once, but both .*NM01_01.jpg and .*NM01_01.png exist"):
        msld.list_cases(tmp_path, msld.find_layout(tmp_path))


def test_slices_keep_their_patients_in_a_table_with_semicolons(tmp_path: Path) -> None:
    text = "File name;Patient ID;Age\n2_a.png;p1;40,5\n2_b.png;p2;41\n;;\n;;\n"
    (tmp_path / "meta_data_covid.csv").write_text(text)
    rows = large_covid.list_rows(tmp_path, "curated")
    assert [(row.case, row.patient, row.facts["age"]) for row in rows] == [("2_a", "p1", "40,5"), ("2_b", "p2", "41")]


# -- folders -------------------------------------------------------------------------------------------------


def test_linked_folders_are_the_folders(sars: Path, root: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in ("COVID", "non-COVID"):
        (linked / name).symlink_to(sars / name)
    (sars / "COVID" / ".loop").symlink_to(sars)
    prepared = open_prepared(sars_cov2_ct.SPEC, root)
    assert compare_source(prepared, linked, root) == []
    before = source_state(linked, {})
    os.utime(sars / NAMES[0], (1, 1))
    assert source_state(linked, {}) != before


def test_files_that_changed_places_are_found(sars: Path, root: Path) -> None:
    prepared = open_prepared(sars_cov2_ct.SPEC, root)
    first, second, beside = sars / NAMES[0], sars / NAMES[1], sars / "beside"
    first.rename(beside)
    second.rename(first)
    beside.rename(second)
    changes = compare_source(prepared, sars, root)
    assert changes == ["Covid (1) is made of other files", "Covid (2) is made of other files"]
    assert "is made of other files" in one_line("data", "verify", "sars-cov2-ct", "--from", sars, "--data-root", root)


def test_another_name_of_a_folder_is_no_change(sars: Path, root: Path) -> None:
    (sars / "COVID").rename(sars / "covid")
    assert compare_source(open_prepared(sars_cov2_ct.SPEC, root), sars, root) == []


def test_a_file_that_cannot_be_read_says_nothing_of_the_root(
    sars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> str:
        raise PermissionError(13, "Permission denied", str(folder / "COVID"))

    monkeypatch.setattr(sars_cov2_ct.SPEC.__class__, "find_layout", property(lambda _: refuse), raising=False)
    line = one_line("data", "prepare", "sars-cov2-ct", "--from", sars, "--data-root", tmp_path / "new")
    assert line == f"Error: Cannot read {sars / 'COVID'}: Permission denied.\n"


@pytest.mark.parametrize(
    "arguments",
    [("data", "list", "--data-root"), ("data", "draw", "acdc"), ("data", "info", "acdc", "--data-root")],
)
def test_a_path_that_is_too_long_is_one_line(arguments: tuple[str, ...]) -> None:
    assert "File name too long" in one_line(*arguments, "a" * 300)


def test_the_home_of_nobody_is_one_line() -> None:
    assert "names the home of a user who has none" in one_line("data", "list", "--data-root", "~no_such_user_here/x")


# -- caches --------------------------------------------------------------------------------------------------


def test_a_file_managers_litter_is_no_part_of_a_cache(sars: Path, root: Path) -> None:
    cache = root / "sars-cov2-ct"
    for name in (".DS_Store", "._manifest.json", "Thumbs.db", "desktop.ini"):
        (cache / name).write_bytes(b"x")
    assert verify(open_prepared(sars_cov2_ct.SPEC, root)) == []
    assert prepare(sars_cov2_ct.SPEC, sars, root).kept
    (cache / "notes.txt").write_bytes(b"x")
    with pytest.raises(UserError, match="holds other files"):
        open_prepared(sars_cov2_ct.SPEC, root)


@pytest.mark.parametrize(
    "change",
    [{"layout": "x"}, {"layout": []}, {"duplicates": None}, {"duplicates": {}}, {"classes": ["COVID", "non-COVID"]}],
)
def test_a_manifest_with_a_foreign_field_is_broken(root: Path, change: dict[str, object]) -> None:
    path = root / "sars-cov2-ct" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert "is unusable: manifest.json" in one_line("data", "verify", "sars-cov2-ct", "--data-root", root)


def test_voxels_that_do_not_add_up_are_broken(writers, volumes, tmp_path: Path) -> None:
    prepare(acdc.SPEC, writers["nifti"](tmp_path / "acdc", volumes), tmp_path / "root")
    path = tmp_path / "root" / "acdc" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["cases"][0]["voxels"] = manifest["cases"][0]["voxels"][:-1]
    path.write_text(json.dumps(manifest))
    assert "contradicts itself" in one_line("data", "verify", "acdc", "--data-root", tmp_path / "root")


@pytest.mark.parametrize(("name", "command"), [("manifest.json", "verify"), ("facts.json", "audit")])
@pytest.mark.parametrize("content", ["[" * 200_000, "pipe", '{"Covid (1)": 5}'])
def test_a_file_of_a_cache_that_cannot_be_read_is_one_line(root: Path, name: str, command: str, content: str) -> None:
    path = root / "sars-cov2-ct" / name
    if content == "pipe":
        path.unlink()
        os.mkfifo(path)
    else:
        path.write_text(content)
    assert f"{name} cannot be read" in one_line("data", command, "sars-cov2-ct", "--data-root", root)


def test_facts_that_are_no_table_are_broken(root: Path) -> None:
    path = root / "sars-cov2-ct" / "facts.json"
    path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()), 5)))
    assert "facts.json cannot be read" in one_line("data", "audit", "sars-cov2-ct", "--data-root", root)


def test_a_pipe_in_place_of_an_array_is_not_waited_for(root: Path) -> None:
    (root / "sars-cov2-ct" / "images.npy").unlink()
    os.mkfifo(root / "sars-cov2-ct" / "images.npy")
    assert "images.npy cannot be read" in one_line("data", "verify", "sars-cov2-ct", "--data-root", root)


# -- archives ------------------------------------------------------------------------------------------------


def packed(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(folder))
    return path


def test_deflate64_is_no_damage(sars: Path, tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", sars)
    content = path.read_bytes().replace(b"PK\x03\x04\x14\0\0\0\x08", b"PK\x03\x04\x15\0\0\0\x09")
    path.write_bytes(content.replace(b"PK\x01\x02\x14\x03\x14\0\0\0\x08", b"PK\x01\x02\x14\x03\x15\0\0\0\x09"))
    line = one_line("data", "prepare", "sars-cov2-ct", "--from", path, "--data-root", tmp_path / "new")
    assert "unpack it with the program that made it" in line
    assert "damaged" not in line


def test_one_part_of_several_is_no_damage(sars: Path, tmp_path: Path) -> None:
    content = packed(tmp_path / "a.zip", sars).read_bytes()
    end = content.rindex(b"PK\5\6")
    (tmp_path / "a.zip").write_bytes(content[200 : end + 4] + b"\1\0\1\0" + content[end + 8 :])
    line = one_line("data", "prepare", "sars-cov2-ct", "--from", tmp_path / "a.zip", "--data-root", tmp_path / "new")
    assert "is one part of several" in line


def test_what_a_killed_process_unpacked_is_removed(sars: Path, tmp_path: Path) -> None:
    root = tmp_path / "new"
    source = packed(tmp_path / f"{'n' * 245}.zip", sars)
    with opened(source, root) as folder:
        here = folder.name.removesuffix(str(os.getpid()))
    killed, own, running = (root / f"{here}{pid}" for pid in (999999999, os.getpid(), 1))
    of_another_machine = root / "unpacked.zip-0000-999999999"
    for left in (killed, own, running, of_another_machine):
        (left / "a").mkdir(parents=True)
    with opened(source, root) as folder:
        assert sorted(path.name for path in root.iterdir()) == sorted(
            [folder.name, running.name, of_another_machine.name]
        )
        assert not (folder / "a").exists(), "what a killed process of this one's number left is gone"
    assert sorted(root.iterdir()) == sorted([running, of_another_machine])


# -- evaluate ------------------------------------------------------------------------------------------------


def save(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = np.zeros((5, 6, 3), np.uint8)
    labels[1:3, 1:3] = 1
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), path)


def test_a_name_with_accents_apart_is_the_same_name(tmp_path: Path) -> None:
    save(tmp_path / "lab" / f"{unicodedata.normalize('NFC', 'Müller')}.nii.gz")
    save(tmp_path / "pred" / f"{unicodedata.normalize('NFD', 'Müller')}.nii.gz")
    (tmp_path / "p.csv").write_text(unicodedata.normalize("NFD", "case,patient\nMüller,a\n"), encoding="utf-8")
    arguments = ["evaluate", "--pred", tmp_path / "pred", "--label", tmp_path / "lab", "--patients", tmp_path / "p.csv"]
    result = CliRunner().invoke(main, [*map(str, arguments), "--format", "csv"])
    assert result.exit_code == 0, result.output
    shutil.copy(next((tmp_path / "lab").iterdir()), tmp_path / "pred")
    assert "stands there twice" in one_line(*arguments)


def test_a_pipe_of_patients_is_not_waited_for(tmp_path: Path) -> None:
    save(tmp_path / "lab" / "c1.nii.gz")
    save(tmp_path / "pred" / "c1.nii.gz")
    os.mkfifo(tmp_path / "p")
    line = one_line("evaluate", "--pred", tmp_path / "pred", "--label", tmp_path / "lab", "--patients", tmp_path / "p")
    assert "a pipe, socket or device" in line


def test_an_output_that_cannot_be_written_is_told_before_scoring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr("bench.analysis.predictions.score_predictions", lambda *_: pytest.fail("it was scored"))
    line = one_line("evaluate", "--pred", tmp_path, "--label", tmp_path, "--output", tmp_path / "file" / "x")
    assert "Name another folder with --output" in line
