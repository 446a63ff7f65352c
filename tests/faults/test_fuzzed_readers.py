"""Whatever stands in a file of somebody else: a value or one line, never a traceback, never code that runs (slow).

`MEDBENCH_FUZZ_EXAMPLES` sets how many examples each test takes (60); hours find more than minutes.
"""

from __future__ import annotations

import copy
import io
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fuzzing import fuzzed, new_folder, one_line
from hypothesis import given
from hypothesis import strategies as st
from stored_records import EXAMPLE, a_record_of

from bench.datasets.cache.manifest import load_manifest
from bench.datasets.readers.files import read_h5, read_npz
from bench.datasets.readers.images import read_image
from bench.datasets.readers.metadata import table_columns
from bench.datasets.readers.nifti import read_nifti
from bench.records import store
from bench.records.keys import cell_key
from bench.records.predicted import Kept, read_predictions
from bench.records.profiles import load_profiles
from bench.records.titles import read_titles
from bench.report.render import render_tables, results_tables
from bench.runs.train import _read_checkpoint, sealed

pytestmark = pytest.mark.slow
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["../../x", "/etc/passwd", "=1+1", "<script>", "\\input{x}", "os:system", "\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


# -- bytes ---------------------------------------------------------------------------------------------------


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes with some of them overwritten, taken away or put in; the beginning, where headers are, more often."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, min(200, len(content))) | st.integers(0, len(content)))
        new = draw(st.binary(max_size=8) | st.sampled_from([b"\0" * 8, b"\xff" * 8, b"(S'x'\ni0\n.", b"\x80\x02c"]))
        taken = draw(st.sampled_from([0, len(new), len(new), 64]))
        content[place : place + taken] = new
    return bytes(content)


class Evil:
    """What runs when its pickle is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.mark, "ran")


def checkpoint(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def test_a_pickle_in_a_checkpoint_never_runs(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for zipped in (True, False):
        buffer = io.BytesIO()
        torch.save({"key": "k", "model": Evil(mark)}, buffer, _use_new_zipfile_serialization=zipped)
        (tmp_path / "c.pt").write_bytes(sealed(buffer.getvalue()))
        assert _read_checkpoint(tmp_path / "c.pt") == {}
    assert not mark.exists()


@fuzzed
@given(st.data())
def test_bytes_of_a_checkpoint(data: st.DataObject) -> None:
    whole = checkpoint({"key": "k", "model": {"w": torch.zeros(3)}, "progress": {"step": 1}})
    with new_folder() as folder:
        path = folder / "checkpoint.pt"
        path.write_bytes(sealed(data.draw(damaged(whole))))
        assert isinstance(_read_checkpoint(path), dict)


@fuzzed
@given(st.data())
def test_bytes_of_predictions(data: st.DataObject) -> None:
    with new_folder() as folder:
        kept = Kept(folder)
        kept.add("a", np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
        path = kept.save("k", "last")
        path.write_bytes(data.draw(damaged(path.read_bytes())))
        found = one_line(lambda: read_predictions(folder, {"key": "k"}))
        for case in found.cases if found else ():
            one_line(lambda case=case: found.of(case))


def pictures() -> dict[str, tuple[bytes, Callable[[Path], Any]]]:
    """File name -> a small whole file, and what reads it."""
    import h5py
    import nibabel
    from PIL import Image

    pixels = np.arange(40 * 40, dtype=np.uint8).reshape(40, 40)
    png, jpg, npz, h5 = (io.BytesIO() for _ in range(4))
    Image.fromarray(pixels).save(png, "PNG")
    Image.fromarray(pixels).save(jpg, "JPEG")
    np.savez(npz, image=pixels)
    with h5py.File(h5, "w") as file:
        file["image"] = pixels
    nifti = nibabel.Nifti1Image(pixels[:, :, None].astype(np.int16), np.eye(4)).to_bytes()
    return {
        "a.png": (png.getvalue(), lambda path: read_image(path, 1)),
        "a.jpg": (jpg.getvalue(), lambda path: read_image(path, 3)),
        "a.npz": (npz.getvalue(), lambda path: read_npz(path, ("image",))),
        "a.h5": (h5.getvalue(), lambda path: read_h5(path, ("image",))),
        "a.nii": (nifti, read_nifti),
        "a.csv": (b"case,patient\na,1\nb,2\n", table_columns),
    }


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.npz", "a.h5", "a.nii", "a.csv"])
def test_bytes_of_images_and_tables(name: str) -> None:
    whole, read = pictures()[name]

    @fuzzed
    @given(damaged(whole))
    def check(content: bytes) -> None:
        with new_folder() as folder:
            (folder / name).write_bytes(content)
            one_line(lambda: read(folder / name))

    check()


def test_bytes_of_a_study_s_journal() -> None:
    from ablations.journal import open_study, read_study

    with new_folder() as folder:
        study = open_study(folder, "s", {"dataset": "acdc"}, ["maximize"])
        study.tell(study.ask(), 1.0)
        whole = (folder / "studies" / "s.log").read_bytes()

    @fuzzed
    @given(damaged(whole))
    def check(content: bytes) -> None:
        with new_folder() as folder:
            (folder / "studies").mkdir()
            (folder / "studies" / "s.log").write_bytes(content)
            one_line(lambda: read_study(folder / "studies" / "s.log"))
            one_line(lambda: open_study(folder, "s", {"dataset": "acdc"}, ["maximize"]))

    check()


# -- fields of JSON ------------------------------------------------------------------------------------------


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all fields and entries."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [spot for key, below in inner for spot in ((*place, key), *places(below, (*place, key)))]


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value in which one or two fields hold something else, or are gone."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 2))):
        *above, last = draw(st.sampled_from(places(value)))
        inner = value
        for key in above:
            inner = inner[key]
        if draw(st.integers(0, 3)) == 0:
            del inner[last]
        else:
            inner[last] = draw(JSON)
        if not places(value):
            break
    return value


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_fields_of_a_record(task: str) -> None:
    """Of a record that is taken, tables are made in all formats; of one that is not, a line says why."""
    whole = json.loads((a_record_of(task) / "record.json").read_text())

    @fuzzed
    @given(changed(whole))
    def check(record: Any) -> None:
        if isinstance(record.get("cell"), dict):
            with suppress(KeyError, TypeError, ValueError, AttributeError):
                record["key"] = cell_key(record["cell"])
        with new_folder() as folder:
            place = folder / "runs" / "d" / "m" / "0-k"
            shutil.copytree(a_record_of(task), place)
            (place / "record.json").write_text(json.dumps(record))
            found = one_line(lambda: results_tables(folder))
            for form in ("markdown", "latex", "csv", "rich") if found else ():
                one_line(lambda form=form: render_tables(found[0], form, found[1]))
            one_line(lambda: store.is_done(place))

    check()


def test_fields_of_titles_units_and_profiles() -> None:
    titles = {"schema": 1, "titles": {"unet_s": {"title": "U", "family": "cnn", "from": "user"}}}
    units = json.loads(next((EXAMPLE / "units").glob("*.json")).read_text())
    units["cases"] = dict(list(units["cases"].items())[:3])
    profile = json.loads(next(EXAMPLE.rglob("profiles/*/*.json")).read_text())

    @fuzzed
    @given(changed(titles), changed(units), changed(profile))
    def check(titles: Any, units: Any, profile: Any) -> None:
        with new_folder() as folder:
            (folder / "units").mkdir()
            (folder / "profiles" / "m").mkdir(parents=True)
            (folder / "titles.json").write_text(json.dumps(titles))
            (folder / "units" / "a-b.json").write_text(json.dumps(units))
            (folder / "profiles" / "m" / "k.json").write_text(json.dumps(profile))
            one_line(lambda: read_titles(folder))
            one_line(lambda: store.load_cells(folder))
            one_line(lambda: load_profiles(folder))

    check()


def test_fields_of_a_manifest() -> None:
    case = {"case": "a", "patient": "a", "label": 0, "shape": [1, 4, 4], "offset": 0, "image_sha256": "0"}
    manifest = {
        "schema": 1,
        "preparation_version": 1,
        "dataset": "d",
        "kind": "real",
        "task": "classification",
        "phantom_version": None,
        "layout": "l",
        "classes": ["x", "y"],
        "counts": {"cases": 1, "patients": 1, "voxels": 16, "classes": [1, 0]},
        "fingerprint": "0",
        "duplicates": {},
        "groups": [],
        "cases": [case],
    }

    @fuzzed
    @given(changed(manifest))
    def check(content: Any) -> None:
        with new_folder() as folder:
            (folder / "manifest.json").write_text(json.dumps(content))
            one_line(lambda: load_manifest(folder))

    check()
