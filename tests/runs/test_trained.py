"""Trained networks in use: their predictions are the record's; nothing is run that a user did not name."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from trained_runs import folders_of, run

from bench.datasets.base import Prepared
from bench.datasets.cache.prepared import open_prepared
from bench.errors import UserError
from bench.metrics.cases import score_case
from bench.records import store
from bench.records.damage import Damaged
from bench.records.predicted import Kept, read_predictions
from bench.runs.evaluate import _emptied
from bench.runs.trained import Trained, load_trained, predict_together
from bench.zoo.registry import dataset_spec

OWN = """
from torch import nn

open({log!r}, "a").write("run ")


class Net(nn.Module):
    def __init__(self, in_channels, num_classes, width=3):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(in_channels, width, 1), nn.Conv2d(width, num_classes, 1))

    def forward(self, x):
        return self.layers(x)
"""


@pytest.fixture(scope="module")
def folders(user_data: Path) -> dict[str, Path]:
    """Dataset -> a record's folder."""
    return folders_of(user_data)


def of_tests(folder: Path, root: Path) -> tuple[Prepared, list[int], pd.DataFrame, dict[str, Any]]:
    """Data, indices of the test cases in order, their rows of cases.csv under the weights that are kept, the record."""
    record = store.read_record(folder)
    assert record is not None
    rows = store.read_cases(folder, record)
    assert rows is not None
    rows = rows[(rows["part"] == "test") & (rows["weights"] == "best-val")]
    data = open_prepared(dataset_spec(record["cell"]["dataset"]), root / "medbench", "phantom")
    places = {case.case: i for i, case in enumerate(data.cases)}
    return data, [places[name] for name in dict.fromkeys(rows["case"])], rows, record


def test_predict_gives_the_figures_of_cases_csv_to_the_last_digit(folders: dict[str, Path], user_data: Path) -> None:
    trained = load_trained(folders["acdc"])
    data, cases, rows, _ = of_tests(folders["acdc"], user_data)
    columns = [*store.SCORE_COLUMNS["segmentation"], "reference_voxels", "predicted_voxels"]
    for i in cases:
        labels = trained.predict(data.image(i))
        scored = pd.DataFrame(score_case(labels, np.asarray(data.label(i)), trained.classes, data.cases[i].spacing))
        stored = rows[rows["case"] == data.cases[i].case].reset_index(drop=True)
        pd.testing.assert_frame_equal(
            scored[columns].astype(float), stored[columns].astype(float), check_exact=True, obj=data.cases[i].case
        )


def test_probabilities_are_those_of_cases_csv_to_the_last_digit(folders: dict[str, Path], user_data: Path) -> None:
    trained = load_trained(folders["large-covid-ct"])
    data, cases, rows, _ = of_tests(folders["large-covid-ct"], user_data)
    predicted = trained.predict([data.image(i) for i in cases])
    assert np.concatenate(predicted).tolist() == rows["probability"].tolist()
    alone = trained.predict(data.image(cases[0]))
    np.testing.assert_allclose(alone, predicted[0], rtol=1e-4)


def test_kept_predictions_are_what_the_network_predicts(folders: dict[str, Path], user_data: Path) -> None:
    for dataset, folder in folders.items():
        data, cases, _, record = of_tests(folder, user_data)
        kept, trained = read_predictions(folder, record), load_trained(folder)
        assert kept is not None
        assert (kept.weights, kept.cases) == ("best-val", tuple(data.cases[i].case for i in cases)), dataset
        for i, predicted in zip(cases, trained.predict([data.image(i) for i in cases]), strict=True):
            np.testing.assert_array_equal(kept.of(data.cases[i].case), predicted)


def test_predictions_can_be_left_out_and_change_no_key(tmp_path: Path, user_data: Path) -> None:
    asked = {"dataset": "acdc", "models": "chance", "root": user_data / "medbench"}
    (with_them,), (without,) = run(tmp_path / "1", **asked), run(tmp_path / "2", predictions=False, **asked)
    assert with_them.name == without.name
    assert (with_them / "cases.csv").read_bytes() == (without / "cases.csv").read_bytes()
    assert {p.name for p in with_them.iterdir()} - {p.name for p in without.iterdir()} == {"predictions.npz"}
    record = store.read_record(without)
    assert record is not None
    assert read_predictions(without, record) is None
    with np.load(with_them / "predictions.npz", allow_pickle=False) as archive:
        assert json.loads(str(archive["about"]))["key"] == record["key"]


def kept_file(folder: Path, key: str = "k") -> tuple[Path, dict[str, str]]:
    kept = Kept(folder)
    kept.add("gone", np.zeros((9, 9, 9), np.uint8))
    kept.clear()
    kept.add("a", np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    assert not list(folder.glob("*.tmp*")), "what a kill leaves has no name"
    return kept.save(key, "best-val"), {"key": "k"}


def test_damaged_or_foreign_predictions_are_named(tmp_path: Path) -> None:
    path, record = kept_file(tmp_path)
    kept = read_predictions(tmp_path, record)
    assert kept is not None
    assert (kept.cases, kept.of("a").tolist()) == (("a",), np.arange(24).reshape(2, 3, 4).tolist())
    whole = path.read_bytes()
    assert kept_file(tmp_path)[0].read_bytes() == whole, "the same predictions are the same bytes"
    for damaged in (whole[: len(whole) // 2], b"", b"no archive"):
        path.write_bytes(damaged)
        with pytest.raises(Damaged, match=r"predictions.npz cannot be read"):
            read_predictions(tmp_path, record)
    kept_file(tmp_path, "other")
    with pytest.raises(Damaged, match="holds predictions of cell 'other'"):
        read_predictions(tmp_path, record)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full disk to write to")
def test_predictions_on_a_full_disk_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = open("/dev/full", "r+b", buffering=0)  # noqa: SIM115
    monkeypatch.setattr("bench.records.predicted.tempfile.TemporaryFile", lambda dir: full)
    kept = Kept(tmp_path)
    with pytest.raises(OSError, match="No space left"), _emptied(kept) as keep:
        keep("a", np.zeros((2, 3, 4), np.uint8))
    assert (kept.cases, full.closed) == ([], True)


def test_pickles_and_promises_in_predictions_are_refused(tmp_path: Path) -> None:
    about = np.array(json.dumps({"schema": 1, "key": "k", "weights": "best-val", "cases": ["a"]}))
    for odd in (np.array([[[object()]]]), np.zeros((2, 2)), np.zeros(3, np.uint8)):
        np.savez(tmp_path / "predictions.npz", about=about, **{"0": odd})
        kept = read_predictions(tmp_path, {"key": "k"})
        assert kept is not None
        with pytest.raises(Damaged, match=r"0\.npy is of"):
            kept.of("a")
    np.savez(tmp_path / "predictions.npz", about=np.array([{"schema": 1}], dtype=object))
    with pytest.raises(Damaged, match=r"about\.npy is of object"):
        read_predictions(tmp_path, {"key": "k"})


def test_files_are_read_as_the_network_s_data_set_would_hold_them(
    folders: dict[str, Path], user_data: Path, tmp_path: Path
) -> None:
    import nibabel
    from PIL import Image

    trained = load_trained(folders["acdc"])
    data, cases, _, _ = of_tests(folders["acdc"], user_data)
    volume = np.array(data.image(cases[0]))
    nibabel.Nifti1Image(volume.transpose(2, 1, 0), np.diag([1.5, 1.5, 8, 1])).to_filename(tmp_path / "heart.nii.gz")
    grey = np.clip(volume[0] / volume[0].max() * 255, 0, 255).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "slice.png")
    found = trained.predict(tmp_path)
    assert list(found) == ["heart", "slice"]
    np.testing.assert_array_equal(found["heart"], trained.predict(volume))
    np.testing.assert_array_equal(found["slice"], trained.predict(grey.astype(np.float32)))
    assert found["slice"].shape == grey.shape
    probabilities = trained.probabilities(volume)
    assert probabilities.shape == (len(trained.classes), *volume.shape)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, rtol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(axis=0), found["heart"])


@pytest.mark.parametrize("output", ["logits", "labels"])
def test_the_mean_of_a_run_with_itself_is_the_run(folders: dict[str, Path], user_data: Path, output: str) -> None:
    for folder in folders.values():
        trained = load_trained(folder)
        trained = replace(trained, protocol=replace(trained.protocol, output=output))
        data, cases, _, _ = of_tests(folder, user_data)
        image = data.image(cases[0])
        np.testing.assert_array_equal(predict_together([trained, trained], image), trained.predict(image))


def other(folder: Path, to: Path, **changes: Any) -> Path:
    """A copy of a record whose cell's model is changed, with the key that it then has."""
    shutil.copytree(folder, to)
    record = json.loads((to / "record.json").read_text())
    record["cell"]["model"] |= changes
    from bench.records.keys import cell_key

    record["key"] = cell_key(record["cell"])
    (to / "record.json").write_text(json.dumps(record))
    return to


def test_what_cannot_be_loaded_ends_in_a_line(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = folders["acdc"]
    config = json.loads((folder / "record.json").read_text())["cell"]["model"]["config"]
    newer = other(folder, tmp_path / "1", version=99)
    foreign = other(folder, tmp_path / "2", config={**config, "surprise": 1})
    damaged = Path(shutil.copytree(folder, tmp_path / "3"))
    (damaged / "weights.safetensors").write_bytes(b"no weights")
    for asked, said in (
        ({"folder": folder.parent}, r"Expected the folder of a finished run .* Did you mean"),
        ({"folder": folder, "weights": "average-best-val"}, "has no average.safetensors"),
        ({"folder": folder, "weights": "last"}, "Expected weights that a run keeps"),
        ({"folder": newer}, "is of mednext_tiny version 99, and this version of medbench has"),
        ({"folder": foreign}, "to have other fields: surprise differ"),
        ({"folder": damaged}, "weights.safetensors cannot be loaded"),
    ):
        with pytest.raises(UserError, match=said):
            load_trained(**asked)
    trained = load_trained(folder)
    with pytest.raises(UserError, match=r"Expected an image \(D, H, W\)"):
        trained.predict(np.zeros((1, 1, 8, 8)))


def test_a_third_party_s_code_runs_only_where_it_is_named_and_is_the_record_s(tmp_path: Path, user_data: Path) -> None:
    log, net = tmp_path / "log", tmp_path / "here" / "net.py"
    net.parent.mkdir()
    net.write_text(OWN.format(log=str(log)))
    (folder,) = run(tmp_path / "r", user_data / "medbench", dataset="acdc", models=f"{net}:Net[width=5]")
    kept = folder / "sources" / "net.py"
    log.write_text("")
    hostile = tmp_path / "there" / "net.py"
    hostile.parent.mkdir()
    hostile.write_text(net.read_text() + "\nopen('/dev/null')\n")
    for trust, said in (
        (None, "name its file with --trust FILE. It was made with"),
        (hostile, "Nothing of it was run"),
    ):
        with pytest.raises(UserError, match=said):
            load_trained(folder, trust=trust)
    kept.write_text(hostile.read_text())  # a record whose sources were exchanged
    with pytest.raises(UserError, match="Nothing of it was run"):
        load_trained(folder, trust=kept)
    assert log.read_text() == ""
    kept.write_text(net.read_text())
    for trust in (net, kept):
        trained = load_trained(folder, trust=trust)
        assert isinstance(trained, Trained)
        assert trained.predict(np.zeros((1, 20, 20), np.float32)).shape == (1, 20, 20)
    assert log.read_text() != ""


REGISTERED = """
from torch import nn

from bench import register_model


@register_model(title="Kept", family="cnn", citation="none", version=7)
def kept_here(task, in_channels, num_classes, image_size):
    return nn.Conv2d(in_channels, num_classes, 1)
"""


def test_a_registered_network_of_a_file_is_known_by_the_sources_that_were_kept(tmp_path: Path, user_data: Path) -> None:
    from bench.zoo.entry import MODELS

    net = tmp_path / "kept.py"
    net.write_text(REGISTERED)
    try:
        (folder,) = run(tmp_path / "r", user_data / "medbench", dataset="acdc", models=f"{net}:kept_here")
        assert load_trained(folder, trust=folder / "sources" / "kept.py").name == "kept_here"
        with pytest.raises(UserError, match="of a network of somebody's own, kept_here"):
            load_trained(folder)
        net.write_text(REGISTERED.replace("num_classes, 1)", "num_classes, 1, bias=False)"))
        with pytest.raises(UserError, match="Nothing of it was run"):
            load_trained(folder, trust=net)
    finally:
        MODELS.pop("kept_here", None)
