"""The store of profiles: keys, files, what is read back, two folders of them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest
from children import ENVIRONMENT, answer, fake_child
from click.testing import CliRunner, Result

import bench
from bench.cli.main import main
from bench.cost.measurement import Measurement, make_settings
from bench.cost.rounds import Samples, figures
from bench.cost.speed import BLOCKS, measure
from bench.records.keys import digest
from bench.records.profiles import (
    DEFAULTS,
    Setting,
    load_profiles,
    machine_name,
    profile_row,
    read_profile,
    write_profile,
)


def medbench(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_the_key_names_what_is_timed_and_how() -> None:
    (first,) = make_settings(Measurement("mednext_tiny"))
    assert len(first.key) == 12
    assert make_settings(Measurement("mednext_tiny[sem=dilated]"))[0].key == first.key
    assert Setting(**json.loads(json.dumps(asdict(first)))).key == first.key
    others = [replace(first, **cast(Any, {name: "other"})) for name in asdict(first)]
    assert len({first.key, *(other.key for other in others)}) == 1 + len(others)


def test_a_profile_survives_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_child(monkeypatch, {"mednext_tiny[sem=none]": answer()})
    made = measure(make_settings(Measurement("mednext_tiny[sem=none]"))[0], 60.0)
    path = write_profile(tmp_path, made)
    assert path == tmp_path / "profiles" / "amd-epyc-7b13-2-cores" / f"{made['key']}.json"
    back = read_profile(path)
    assert back == json.loads(json.dumps(made))
    assert Setting(**back["setting"]).key == back["key"]
    timed = {name: value for name, value in back["samples"].items() if name not in BLOCKS}
    assert figures(Samples(**timed), back["setting"]["batch"]) == back["figures"]
    row = load_profiles(tmp_path).iloc[0]
    assert row.to_dict() == pd.DataFrame([profile_row(made)]).iloc[0].to_dict()
    assert (row["ratio"], row["flagged"], row["rounds"], row["processes"]) == (2.0, False, 50, 5)
    assert back["samples"]["process"] == [number for number in range(5) for _ in range(10)]
    assert back["samples"]["passes"] == [20] * 5
    assert (back["load"]["start"], back["metric"]) == ([0.5, 0.4, 0.3], None)
    assert row["images_per_second"] == pytest.approx(800)
    assert row["title"] == "MedNeXt-T (reconstr.) [sem=none]"
    assert row["input"] == "8x3x224x224"
    assert [row[f"latency_p{q}"] for q in (50, 90, 99)] == pytest.approx([3.0, 4.0, 4.0])
    assert (row["best_batch"], row["best_images_per_second"], row["sweep_ended"]) == (2, pytest.approx(800), "peak")
    assert (row["inference_bytes"], row["training_bytes"], row["weights_bytes"]) == (2**20, 3 * 2**20, 99)
    assert (row["trainable"], row["spread"]) == (2_400_000, None)


def test_a_profile_from_before_the_newer_figures_is_read_with_blanks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_child(monkeypatch, {"mednext_tiny": answer()})
    old = measure(make_settings(Measurement("mednext_tiny", fused=True))[1], 60.0)
    for name in ("latency", "sweep", "change", "memory", "metric"):
        del old[name]
    del old["setting"]["allocator"], old["figures"]["processes"], old["samples"]["process"]
    old["fused"] = {"largest_difference": 1e-7, "output_scale": 0.5}
    write_profile(tmp_path, old)
    row = load_profiles(tmp_path).iloc[0]
    assert (row["difference"], row["output_scale"]) == (1e-7, 0.5)
    assert (row["processes"], row["allocator"]) == (1, "default")
    blank = [
        "metric",
        "metric_change",
        "metric_error",
        "latency_p50",
        "latency_passes",
        "best_batch",
        "inference_bytes",
        "weights_bytes",
        "fvcore_macs",
        "beside",
    ]
    assert row[blank].isna().all()
    example = load_profiles(Path(__file__).parents[2] / "results" / "example")
    assert example["ratio"].notna().all()


def test_profiles_keep_their_keys() -> None:
    paths = [*(Path(__file__).parents[2] / "results" / "example").glob("profiles/*/*.json")]
    assert paths
    for path in paths:
        assert Setting(**read_profile(path)["setting"]).key == path.stem
    (before,) = make_settings(Measurement("mednext_tiny"))
    assert replace(before, allocator="default").key == digest(
        {name: value for name, value in asdict(before).items() if name not in DEFAULTS}
    )


def test_measuring_again_replaces_and_another_setting_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_child(monkeypatch, {"mednext_tiny": answer()})
    for batch in (8, 8, 4):
        bench.profile("mednext_tiny", results=tmp_path, batch=batch)
    assert sorted(bench.load_profiles(tmp_path)["batch"]) == [4, 8]
    assert load_profiles(tmp_path / "none").empty


def test_a_profile_with_damage_within_is_named_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_child(monkeypatch, {"resnet18": answer()})
    damaged = measure(make_settings(Measurement("resnet18"))[0], 60.0)
    del damaged["figures"]["ratio"]
    path = write_profile(tmp_path, damaged)
    (note,) = load_profiles(tmp_path).attrs["notes"]
    assert f"{path.name} is no profile of schema 1 (KeyError: 'ratio')" in note


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("{", "is cut short"),
        ("[]", "is no profile"),
        ('{"schema": 2}', "update medbench"),
        ('{"schema": 1, "key": "a"}', "it lacks cost, "),
    ],
)
def test_a_damaged_profile_is_named(text: str, cause: str, tmp_path: Path) -> None:
    folder = tmp_path / "profiles" / "machine"
    folder.mkdir(parents=True)
    (folder / "0123456789ab.json").write_text(text)
    frame = load_profiles(tmp_path)
    assert frame.empty
    (note,) = frame.attrs["notes"]
    assert "0123456789ab.json is " in note
    assert cause in note


def test_machines_are_named_by_their_kind() -> None:
    assert machine_name(ENVIRONMENT) == "amd-epyc-7b13-2-cores"
    gpu = {**ENVIRONMENT, "gpu": "NVIDIA GeForce RTX 3090"}
    assert machine_name(gpu) == "nvidia-geforce-rtx-3090-amd-epyc-7b13-2-cores"


def test_two_folders_of_profiles_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, seconds in (("a", 0.010), ("b", 0.0102)):
        fake_child(monkeypatch, {"resnet50": answer(seconds)})
        bench.profile("resnet50", results=tmp_path / folder)
    result = medbench("profile", "--results", tmp_path / "a", "--compare", tmp_path / "b", "--format", "markdown")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "2.000 (2.000 to 2.000) | 1.961 (1.961 to 1.961) | no | -2.0 % |" in result.stdout
    assert "0 of 1 intervals overlap" in result.stdout
    assert (
        "ratio_again"
        in medbench(*("profile", "--results", tmp_path / "a", "--compare", tmp_path / "b", "--format", "csv")).stdout
    )
    for options, said in (
        (["--compare", tmp_path / "no folder"], "No results folder"),
        (["--compare", tmp_path / "b" / ".." / "a"], "its profiles repeat themselves"),
        (["--compare", tmp_path / "b", "--models", "resnet50"], "Expected --compare without --models"),
    ):
        refused = medbench("profile", "--results", tmp_path / "a", *options)
        assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
        assert said in refused.stderr
    (tmp_path / "none").mkdir()
    nothing = medbench("profile", "--results", tmp_path / "a", "--compare", tmp_path / "none")
    assert nothing.exit_code == 2
    assert nothing.stderr.startswith("Error: Expected two results folders with profiles of the same settings")
