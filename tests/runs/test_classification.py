"""Classification cells from phantoms to tables: records, resume to the same bytes, both tasks in one results folder."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import bench
from bench.cli.main import main
from bench.records import store
from bench.runs import job as cell
from bench.runs import runner
from bench.runs.request import Request
from bench.zoo.entry import MODELS, register_model

NAME = "sars-cov2-ct"
TINY = ("steps=6", "evaluations=3", "batch_size=4")
REQUEST: dict[str, Any] = {"dataset": NAME, "preset": "smoke", "data": "phantom", "settings": TINY, "threads": 1}


def jobs(results: Path, **changes: Any) -> list[cell.Job]:
    return runner.make_jobs(Request(**{**REQUEST, "results": results, "models": "mednext_tiny", **changes}))


def ran(results: Path, **changes: Any) -> tuple[cell.Job, dict[str, Any]]:
    (job,) = jobs(results, **changes)
    assert cell.run_cell(job) == "complete"
    record = store.read_record(job.folder)
    assert record is not None
    return job, record


def test_a_record_says_what_of_each_class_is_where(tmp_path: Path) -> None:
    job, record = ran(tmp_path)
    dataset, metrics = record["dataset"], record["metrics"]["best-val"]
    assert (dataset["name"], dataset["task"], dataset["classes"]) == (
        f"{NAME}-phantom",
        "classification",
        ["non-COVID", "COVID"],
    )
    assert dataset["official_cases"] == 2481
    assert dataset["split_flag"] is None
    assert "patients unknown" in dataset["split_source"]
    parts = dataset["counts"]
    assert sum(part["cases"] for part in parts.values()) == dataset["present_cases"] - dataset["left_out"]
    assert all(sum(part["classes"].values()) == part["cases"] for part in parts.values())
    assert record["preset"] == "smoke with steps=6, batch_size=4"
    assert record["cell"]["protocol"]["loss"] == "ce"
    with (job.folder / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == store.CASE_COLUMNS["classification"]
    mine = [row for row in rows if (row["part"], row["weights"]) == ("test", "best-val")]
    assert len(mine) == 2 * parts["test"]["cases"]
    assert {row["case"] for row in rows if row["part"] == "val"}.isdisjoint(row["case"] for row in mine)
    right = sum(row["reference"] == row["predicted"] == "1" for row in mine)
    assert metrics["accuracy"] == pytest.approx(right / parts["test"]["cases"])
    history = list(csv.DictReader((job.folder / "history.csv").open()))
    assert [row["step"] for row in history] == ["2", "4", "6"]
    best = max(history, key=lambda row: float(row["val_score"]))
    assert str(record["training"]["best_val_step"]) == best["step"]
    assert record["training"]["val_score"] == float(best["val_score"]) < 0


@pytest.mark.slow
def test_a_stopped_cell_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    whole, _ = ran(tmp_path / "whole")
    (cut,) = jobs(tmp_path / "cut")

    def stop(event: cell.Event) -> None:
        if event.kind == "step" and event.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cell.run_cell(cut, report=stop)
    assert (cut.folder / "checkpoint.pt").exists()
    assert cell.run_cell(cut) == "complete"
    for name in ("cases.csv", "history.csv", "weights.safetensors"):
        assert (cut.folder / name).read_bytes() == (whole.folder / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mednext_tiny", "chance"])
def test_the_saved_weights_give_the_saved_scores(tmp_path: Path, model: str) -> None:
    import torch
    from safetensors.torch import load_file

    from bench.datasets.cache.prepared import open_prepared
    from bench.datasets.splits.assignment import assign, make_split
    from bench.runs.evaluate import headline, score_cases
    from bench.runs.protocol import Protocol

    job, record = ran(tmp_path, models=model)
    spec = bench.zoo.registry.dataset_spec(NAME)
    data = open_prepared(spec, job.data_root, "phantom")
    network = bench.build_model(model, "classification", spec.channels, 2, 64).to(memory_format=torch.channels_last)
    network.load_state_dict(load_file(job.folder / "weights.safetensors"))
    test = assign(data.cases, make_split(spec, data, job.cell.split)).indices["test"]
    scored = headline(score_cases(network, data, test, Protocol(**job.cell.protocol)))
    assert scored == record["metrics"]["best-val"]


def test_chance_answers_with_the_majority_of_the_training_part(tmp_path: Path) -> None:
    _, record = ran(tmp_path, models="chance")
    train, test = (record["dataset"]["counts"][part]["classes"] for part in ("train", "test"))
    commonest = max(record["dataset"]["classes"], key=lambda name: train[name])
    metrics = record["metrics"]["last"]
    assert metrics["accuracy"] == pytest.approx(test[commonest] / sum(test.values()))
    assert (metrics["balanced_accuracy"], metrics["auc"], metrics["mcc"]) == (0.5, 0.5, 0)
    assert record["model"]["title"] == "Chance (majority class)"


def test_outputs_that_are_not_finite_are_a_diverged_cell(tmp_path: Path) -> None:
    import torch
    from torch import nn

    class Sound(nn.Module):
        """Finite while it trains, not afterwards."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 2, 8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x).mean((2, 3)) * (1 if self.training or x.device.type == "meta" else float("inf"))

    def unsound(task: str, in_channels: int, num_classes: int, image_size: int) -> nn.Module:
        return Sound()

    register_model(title="unsound", family="cnn", citation="none", tasks=("classification",))(unsound)
    try:
        (job,) = jobs(tmp_path, models="unsound")
        assert cell.run_cell(job) == "diverged"
        assert cell.run_cell(job) == "reused"
        record = store.read_record(job.folder)
        assert record is not None
        assert (record["error"], record["training"]["val_score"]) == ("the network's outputs are not finite", None)
    finally:
        MODELS.pop("unsound", None)


def test_both_tasks_are_read_from_one_folder(tmp_path: Path) -> None:
    ran(tmp_path, models="chance")
    ran(tmp_path, models="chance", dataset="acdc")
    cases, cells, long = store.load_cases(tmp_path), bench.load_cells(tmp_path), bench.load_results(tmp_path)
    assert dict(zip(cells["dataset"], cells["task"], strict=True)) == {
        "acdc-phantom": "segmentation",
        f"{NAME}-phantom": "classification",
    }
    images = cases[cases["probability"].notna()]
    assert len(images) + cases["outcome"].notna().sum() == len(cases)
    assert set(long.loc[long["task"] == "classification", "metric"]) == {"reference", "predicted", "probability"}
    assert set(long.loc[long["task"] == "segmentation", "metric"]) == set(store.SCORE_COLUMNS["segmentation"])
    assert long.loc[long["metric"] == "probability", "value"].between(0, 1).all()
    assert list(long.columns[:5]) == ["part", "weights", "case", "patient", "class"]
    text = report(tmp_path, "markdown")
    first, second = text[: text.index("Accuracy %")], text[text.index("Accuracy %") :]
    assert "Dice % (strict)" in first
    assert "Accuracy %" not in first
    assert "Accuracy %" in second
    assert "| Dice" not in second.split("\n", 1)[1]


def report(results: Path, form: str, *options: str) -> str:
    done = CliRunner().invoke(main, ["report", "--results", str(results), "--format", form, *options])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_record_of_before_there_were_tasks_is_read(tmp_path: Path) -> None:
    job, record = ran(tmp_path, models="chance", dataset="acdc")
    before = report(tmp_path, "markdown")
    newer = ("task", "present_cases", "official_cases", "split_source", "split_flag")
    record["dataset"] = {k: v for k, v in record["dataset"].items() if k not in newer}
    (job.folder / "record.json").write_text(json.dumps(record))
    assert report(tmp_path, "markdown") == before
    assert set(bench.load_results(tmp_path)["task"]) == {"segmentation"}


@pytest.mark.parametrize("form", ["rich", "markdown", "latex", "csv"])
def test_the_command_ends_with_a_table_in_every_format(tmp_path: Path, form: str) -> None:
    options = ["--models", "chance", "--dataset", NAME, "--preset", "smoke", "--data", "phantom", "--threads", "1"]
    done = CliRunner().invoke(main, ["run", *options, "--results", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "PHANTOM images" in done.output
    text = report(tmp_path, form, "--classes", *(["--style", "full"] if form == "latex" else []))
    assert "Chance (majority class)" in text
    assert "sens" in text
    assert "Dice" not in text
    assert "1 of 1 cells done" in CliRunner().invoke(main, ["plan", *options, "--results", str(tmp_path)]).output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--models", "unet_s"], "Model 'unet_s' does segmentation, but the dataset needs classification."),
        (["--models", "unet*"], "Expected at least one model, but 'unet*' selects none for classification."),
        (
            ["--set", "output=labels"],
            "Protocol field output has no meaning for classification: leave --set output=labels out.",
        ),
    ],
)
def test_what_the_task_has_not_is_one_line(tmp_path: Path, options: list[str], message: str) -> None:
    command = ["run", "--dataset", NAME, "--data", "phantom", "--results", str(tmp_path), *options]
    done = CliRunner().invoke(main, command)
    assert (done.exit_code, done.stderr) == (2, f"Error: {message}\n")
