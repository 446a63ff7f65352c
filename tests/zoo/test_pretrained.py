"""Pretrained weights: the file's for the body, the seed's for the head; a cell of another key, a table of its own.

No hub is asked: the files are networks of timm's with random weights, saved as a hub would have them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import huggingface_hub
import pytest
import safetensors.torch
import timm
import torch
from click.testing import CliRunner

from baselines.classifiers import CPU, PAPER
from bench.cli.main import main
from bench.errors import UserError
from bench.records.keys import cell_key
from bench.runs.cell import Cell
from bench.runs.seeding import build_seeded
from bench.zoo import pretrained
from bench.zoo.pretrained import initial_weights, load_pretrained, weights_file
from bench.zoo.registry import build_model, model_entry

REAL = weights_file


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the hub: `timm/NAME.TAG` is a file there."""

    def find(repository: str) -> Path:
        path = tmp_path / f"{repository.replace('/', '--')}.safetensors"
        if not path.exists():
            torch.manual_seed(7)
            model = timm.create_model(repository.removeprefix("timm/").partition(".")[0])
            state = {key: torch.randn_like(v) if v.is_floating_point() else v for key, v in model.state_dict().items()}
            path.write_bytes(safetensors.torch.save({key: value.contiguous() for key, value in state.items()}))
        return path

    monkeypatch.setattr(pretrained, "weights_file", find)
    return tmp_path


@pytest.mark.parametrize(
    "name", [*(n.name for n in CPU), *(pytest.param(n.name, marks=pytest.mark.slow) for n in PAPER)]
)
def test_the_body_is_the_file_s_and_the_head_the_seed_s(hub: Path, name: str) -> None:
    entry, shape = model_entry(name), (1, 5, 64)
    model = build_seeded(lambda: build_model(name, "classification", *shape), 0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    init = initial_weights([name])[name]
    assert init["weights"].startswith("timm/")
    load_pretrained(model, entry, init, shape)
    assert entry.pretrained is not None
    head = entry.pretrained.heads()
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    kept = set(before) - changed
    assert {key for key in before if key.startswith(head)} <= kept
    assert all(key.startswith(head) or not before[key].is_floating_point() for key in kept), kept
    assert len(changed) > 10


def test_one_channel_takes_the_sum_of_the_file_s_three(hub: Path) -> None:
    model = build_model("resnet10t", "classification", 1, 2, 64)
    init = initial_weights(["resnet10t"])["resnet10t"]
    load_pretrained(model, model_entry("resnet10t"), init, (1, 2, 64))
    state = safetensors.torch.load(pretrained.weights_file(init["weights"]).read_bytes())
    torch.testing.assert_close(model.state_dict()["conv1.0.weight"], state["conv1.0.weight"].sum(1, keepdim=True))
    assert torch.equal(model.state_dict()["layer1.0.conv1.weight"], state["layer1.0.conv1.weight"])


def test_a_file_that_changed_is_refused(hub: Path) -> None:
    entry, model = model_entry("resnet10t"), build_model("resnet10t", "classification", 3, 2, 64)
    init = initial_weights(["resnet10t"])["resnet10t"]
    with pytest.raises(UserError, match="changed while running"):
        load_pretrained(model, entry, {**init, "sha256": "0" * 64}, (3, 2, 64))


def test_a_pretrained_cell_has_a_key_and_a_comparison_of_its_own() -> None:
    cell = Cell("d", "f", {"kind": "real"}, "s", "p", None, {"name": "a"}, {}, 0)
    one, other = (replace(cell, init={"weights": w, "sha256": "1"}) for w in ("timm/a", "timm/b"))
    assert cell.key == cell_key({name: value for name, value in asdict(cell).items() if name != "init"})
    assert len({cell.key, one.key, other.key}) == 3
    assert one.comparison == other.comparison != cell.comparison


@pytest.mark.slow
def test_a_run_records_where_its_weights_are_from(hub: Path, tmp_path: Path) -> None:
    line = ["run", "--dataset", "large-covid-ct", "--preset", "smoke", "--data", "phantom", "--threads", "1"]
    line += ["--set", "steps=2", "--set", "evaluations=1", "--set", "image_size=32", "--results", str(tmp_path / "r")]
    done = CliRunner().invoke(main, [*line, "--models", "resnet10t,chance", "--pretrained"])
    assert done.exit_code == 0, done.output
    assert "Pretrained weights, heads random: ResNet-10-T timm/resnet10t.c3_in1k." in " ".join(done.output.split())
    (path,) = (tmp_path / "r").rglob("resnet10t/*/record.json")
    content = pretrained.weights_file("timm/resnet10t.c3_in1k").read_bytes()
    init = json.loads(path.read_text())["cell"]["init"]
    assert init == {"weights": "timm/resnet10t.c3_in1k", "sha256": hashlib.sha256(content).hexdigest()}
    random = CliRunner().invoke(main, [*line, "--models", "resnet10t,chance"])
    assert "Pretrained" not in random.output
    assert "2 complete" in random.output


def test_a_model_without_such_weights_is_named_in_one_line(tmp_path: Path) -> None:
    line = ["run", "--dataset", "large-covid-ct", "--preset", "smoke", "--data", "phantom", "--pretrained"]
    done = CliRunner().invoke(main, [*line, "--models", "mednext_tiny,chance", "--results", str(tmp_path / "r")])
    assert done.exit_code == 2
    assert (
        "No pretrained weights are known for mednext_tiny: leave them out (--models all,-mednext_tiny)" in done.output
    )
    assert "Traceback" not in done.output


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(UserError, match=r"Cannot fetch model\.safetensors of timm/x .*run without") as error:
        REAL("timm/x")
    assert "\n" not in str(error.value)
