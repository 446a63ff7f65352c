"""Ablations of a model without slots: arms of its config, matched to one field, a factorial, a named search space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from ablation_rows import a_case, a_cell
from optuna.trial import FixedTrial

from ablations.drawings import draw_ablation, with_budget
from ablations.effects import Stored, arm_effects, factorial_arms, factorial_effects, stored_arms
from ablations.matched import match
from ablations.plans import Plan, label, make_arms, width_field
from ablations.search import Goal
from ablations.space import draw_from, read_space, start_in
from ablations.tables import ablation_tables
from bench.errors import UserError
from bench.zoo.registry import model_entry, parse_model

NET = """from torch import nn


class Net(nn.Module):
    title, tasks = "My net", ("segmentation",)

    def __init__(self, in_channels, num_classes, width=16, se=True, norm="batch", drop=0.1, kernels=(3, 5)):
        super().__init__()
        layers = [nn.Conv2d(in_channels, width, kernels[0], padding="same"), nn.BatchNorm2d(width), nn.ReLU()]
        layers += [nn.GroupNorm(16, width)] if norm == "group" else []
        layers += [nn.Conv2d(width, width, 1), nn.Sigmoid()] if se else []
        self.net = nn.Sequential(*layers, nn.Conv2d(width, num_classes, 1))

    def forward(self, x):
        return self.net(x)
"""
WORTH = {"se": 6.0, "norm": 0.0, "width": 2.0}
PATIENTS = 16


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("own") / "own_net.py"
    path.write_text(NET)
    return f"{path}:Net"


def records_of(net: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both factorials of `se` with another field on three seeds, a null arm, and an arm matched by its width."""
    version, rng = model_entry(net).version, np.random.default_rng(0)
    patients = rng.normal(0, 4, PATIENTS)
    arms: list[tuple[str, set[str], int]] = [("", set(), 100_000), ("[se=False,width=21]", {"se"}, 100_500)]
    arms += [("[se=False]", {"se"}, 60_000), ("[norm=instance]", {"norm"}, 100_000), ("[width=24]", {"width"}, 190_000)]
    arms += [("[norm=instance,se=False]", {"se", "norm"}, 60_000), ("[se=False,width=24]", {"se", "width"}, 130_000)]
    cells, cases = [], []
    for config, changed, params in arms:
        mean = 60 + sum(WORTH[field] for field in set(WORTH) - changed)
        for seed in range(6 if not config else 3):
            cells.append(
                a_cell(f"own_net.py:Net{config}", seed, params, 500 * params + 1e7, version) | {"title": "My net"}
            )
            for i, offset in enumerate(patients):
                cases.append(a_case(cells[-1]["key"], i, mean + offset + rng.normal(0, 0.4)))
    return pd.DataFrame(cells).assign(family="cnn"), pd.DataFrame(cases)


@pytest.fixture(scope="module")
def stored(net: str) -> Stored:
    (found,) = stored_arms(*records_of(net), net, arms=["se=false", "norm=instance"])
    return found


def test_arms_are_configs_and_a_factorial_is_every_subset_of_them(net: str) -> None:
    arms = make_arms(Plan(net, arm=["se=false", "width=8", "kernels=5-5+norm=instance"]))
    assert [label(dict(arm.changes)) for arm in arms] == ["full", "without se", "width=8", "kernels=5-5, norm=instance"]
    assert arms[1].model == f"{net}[se=False]"  # the file's place is in it: another process, or folder, finds it
    subsets = make_arms(Plan(net, arm=["se=false", "width=8", "norm=instance"], factorial=True))
    assert len({arm.model for arm in subsets}) == 8
    both = make_arms(Plan("mednext_tiny", arm=["sem=none", "depths=1-1-2-1"]))
    assert [label(dict(arm.changes)) for arm in both] == ["full", "without sem", "depths=1-1-2-1"]


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"arm": ["sE=false"]}, "Unknown config field of own_net.py:Net 'sE'. Did you mean: se?"),
        ({"arm": ["se"]}, "Expected field=value for own_net.py:Net, but got 'se'"),
        ({"arm": ["se=maybe"]}, "Expected se of own_net.py:Net to be a bool"),
        ({"arm": ["se=true"]}, "Expected something to ablate"),
        ({"arm": ["se=false+se=true"]}, "Expected --arm FIELD=VALUE, each field once"),
        ({"arm": ["width=8", "width=24"], "factorial": True}, "Expected each field in one --arm of a factorial"),
        ({"leave_one_out": True}, "Model 'own_net.py:Net' has no slots to ablate: name fields of its config, --arm"),
        ({"factorial": True}, "Model 'own_net.py:Net' has no slots to ablate"),
    ],
)
def test_what_is_wrong_with_arms_is_said_in_a_line(net: str, asked: dict, line: str) -> None:
    with pytest.raises(UserError) as error:
        make_arms(Plan(net, **asked))
    assert str(error.value).startswith(line)


def test_an_arm_is_matched_by_the_field_that_holds_its_width(net: str) -> None:
    entry, _ = parse_model(net)
    assert width_field(entry) == "width"
    assert width_field(entry, "kernels") == "kernels"
    arm = match(f"{net}[se=False]", net, "params", "segmentation", 1, 4, 32)
    width = parse_model(arm.name)[1]["width"]
    assert type(width) is int
    assert width > 16
    assert abs(arm.ratio - 1) < 0.05
    with pytest.raises(UserError, match=r"--widen to be a field with whole numbers, but drop is 0\.1"):
        match(f"{net}[se=False]", net, "params", "segmentation", 1, 4, 32, "drop")
    with pytest.raises(UserError, match=r"cannot be built with .* to match: ValueError"):
        match(f"{net}[norm=group,se=False]", net, "params", "segmentation", 1, 4, 32)


def test_the_table_has_the_null_arm_the_matched_control_and_the_plain_arms(stored: Stored) -> None:
    effects = {effect.name: effect for effect in arm_effects(stored)}
    assert set(effects) == {
        *("full", "full, other seeds (null)", "without se", "norm=instance", "width=24"),
        *("without se, norm=instance", "without se, width=24", "without se, params matched"),
    }
    gap = effects["without se"].gaps["Dice % (strict)"]
    assert gap.value == pytest.approx(-6, abs=0.5)
    assert gap.excludes_zero
    assert not effects["norm=instance"].gaps["Dice % (strict)"].excludes_zero


@pytest.mark.slow
def test_of_several_factorials_the_one_whose_fields_are_named_counts(net: str, stored: Stored, tmp_path: Path) -> None:
    effects = {effect.name: effect.gaps["Dice % (strict)"] for effect in factorial_effects(stored)}
    assert list(effects) == ["se", "norm", "se x norm"]
    assert effects["se"].value == pytest.approx(6, abs=0.5)
    assert effects["se"].low <= 6 <= effects["se"].high
    (other,) = stored_arms(*records_of(net), net, arms=["se=false", "width=24"])
    assert list(factorial_arms(other) or {}) == [frozenset(), {"width"}, {"se"}, {"width", "se"}]
    factorial = ablation_tables([stored])[1]
    assert "The arms' values: without se, norm=instance." in factorial.notes[0]
    assert "se brings something; norm brings nothing" in factorial.notes[1]
    names = {path.name.rpartition("-")[2] for path in draw_ablation(stored, tmp_path)}
    assert {"arms.png", "factorial.png", "interactions.png"} <= names


def test_pictures_say_where_networks_have_not_converged() -> None:
    assert with_budget("Net", 4_000) == "Net. Short budget: 4,000 images seen, networks have not converged"
    assert with_budget("Net", 48_000) == "Net"


def test_a_space_is_read_drawn_and_started_in_from_the_model_s_own_config(net: str) -> None:
    space = read_space(["se=true|false,width=8..64:8", "drop=0..0.5,kernels=3-5|5-7"], net)
    assert list(map(str, space)) == ["width=8..64:8", "se=true|false", "drop=0..0.5", "kernels=3-5|5-7"]
    assert start_in(net, space) == {"width": 16, "se": "true", "drop": 0.1, "kernels": "3-5"}
    assert start_in(f"{net}[width=100,drop=0.7]", space) == {"width": 64, "se": "true", "drop": 0.5, "kernels": "3-5"}
    trial: optuna.Trial = FixedTrial({"width": 24, "se": "false", "drop": 0.25, "kernels": "5-7"})  # type: ignore[assignment]
    assert draw_from(trial, net, space) == f"{net}[drop=0.25,kernels=5-7,se=False,width=24]"
    assert Goal(net, space=["width=8..64"]).start() == {"width": 16}
    slots: optuna.Trial = FixedTrial({"sem": "none"})  # type: ignore[assignment]
    ours = read_space(["sem=none|multiscale"], "mednext_tiny")
    assert draw_from(slots, "mednext_tiny", ours) == "mednext_tiny[sem=none]"


@pytest.mark.parametrize(
    ("space", "line"),
    [
        ("width", "Expected --space FIELD=VALUES, such as width=8..64"),
        ("width=8.64", "Expected --space width with two values or more"),
        ("width=64..8", "Expected --space width to rise from low to high"),
        ("width=8..64:100", "Expected --space width to rise from low to high by steps"),
        ("width=a|b", "Expected width of own_net.py:Net to be a int"),
        ("width=0.5..2", "Expected width of own_net.py:Net to be a int"),
        ("se=1..2", "Expected se of own_net.py:Net to be a bool"),
        ("depth=1..2", "Unknown config field of own_net.py:Net 'depth'"),
        ("width=8..16,width=8|16", "Expected each field once in --space"),
    ],
)
def test_a_space_that_cannot_be_is_said_in_a_line(net: str, space: str, line: str) -> None:
    with pytest.raises(UserError) as error:
        Goal(net, space=[space])
    assert str(error.value).startswith(line)
    with pytest.raises(UserError, match=r"has no laffn, .* name fields of its config, --space"):
        Goal(net)
