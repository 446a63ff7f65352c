"""What names a cell, and how a request becomes a protocol."""

from __future__ import annotations

import dataclasses

import pytest

from bench.errors import UserError
from bench.records.seeds import parse_seeds
from bench.runs.cell import Cell
from bench.runs.protocol import PRESETS, SEGMENTATION_ONLY, Protocol, preset_label, preset_protocol
from bench.runs.request import Request


def cell(**changes: object) -> Cell:
    base = {
        "dataset": "acdc",
        "fingerprint": "0123456789ab",
        "source": {"kind": "real"},
        "split": "ssl4mis",
        "parts": "aaaaaaaaaaaa",
        "fold": None,
        "model": {"name": "unet_s", "config": {"features": (16, 32)}, "version": 1},
        "protocol": {"image_size": 128, "steps": 600},
        "seed": 0,
    }
    return Cell(**{**base, **changes})  # type: ignore[arg-type]


def test_the_key_is_pinned() -> None:
    """A changed way of hashing would orphan every committed record."""
    assert cell().key == "3dfec803cbb0"
    assert cell().comparison == "57525b377410"


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "synapse"},
        {"fingerprint": "ba9876543210"},
        {"source": {"kind": "phantom", "version": 1}},
        {"split": "mtunet"},
        {"parts": "bbbbbbbbbbbb"},
        {"fold": 0},
        {"model": {"name": "unet_s", "config": {"features": (16, 32)}, "version": 2}},
        {"protocol": {"image_size": 128, "steps": 601}},
        {"seed": 1},
    ],
)
def test_every_field_enters_the_key(change: dict[str, object]) -> None:
    assert cell(**change).key != cell().key


def test_the_comparison_key_leaves_out_model_seed_and_fold_alone() -> None:
    other = {"name": "x", "config": {}, "version": 1}
    assert cell(seed=5, model=other).comparison == cell().comparison
    assert cell(split="mtunet").comparison != cell().comparison
    folds = [cell(split="blocks/5", fold=fold, parts=f"p{fold}") for fold in range(2)]
    assert folds[0].comparison == folds[1].comparison != cell(split="blocks/4", fold=0).comparison
    assert folds[0].key != folds[1].key
    assert cell(parts="other").comparison != cell().comparison


def test_phantoms_are_named_as_such() -> None:
    assert cell(source={"kind": "phantom", "version": 1}).dataset_label == "acdc-phantom"
    assert cell().dataset_label == "acdc"


def test_overrides_take_the_field_s_type() -> None:
    protocol = preset_protocol("quick", ("lr=3e-4", "steps=7", "output=labels"), threads=1)
    assert (protocol.lr, protocol.steps, protocol.output, protocol.threads) == (3e-4, 7, "labels", 1)
    assert preset_label("quick", protocol) == "quick with steps=7, lr=0.0003, output=labels"
    assert preset_label("quick", PRESETS["quick"].protocol) == "quick"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("step=7",), "Unknown protocol field 'step'. Did you mean: steps"),
        (("steps=x",), "Expected protocol field steps to be of type int, but got 'x'."),
        (("steps",), "Expected --set FIELD=VALUE, but got 'steps'."),
        (("steps=0",), "Expected protocol field steps to be from 1 to 10000000, but got 0."),
        (("resize=cubic",), "Expected protocol field resize to be one of linear, transunet, but got 'cubic'."),
        (("image_size=16",), "Expected protocol field image_size to be from 32 to 2048, but got 16."),
        (("lr=nan",), "Expected protocol field lr to be from 1e-08 to 10.0, but got nan."),
        (("dice_weight=inf",), "Expected protocol field dice_weight to be from 0.0 to 1000.0, but got inf."),
        (("flip=-1",), "Expected protocol field flip to be from 0.0 to 1.0, but got -1.0."),
        (("lr=1e-3", "lr=1e-2"), "Expected protocol field lr once, but got --set lr=0.001 and --set lr=1e-2."),
        (("steps=7", "epochs=2"), "Expected --set steps or --set epochs, but got both: 7 and 2."),
        (("version=2",), "Unknown protocol field 'version'."),
        (("policy=strict",), "Unknown protocol field 'policy'."),
    ],
)
def test_a_wrong_override_says_what_is_right(settings: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError) as error:
        preset_protocol("quick", settings)
    assert str(error.value).startswith(message)


def test_threads_and_steps_have_one_place() -> None:
    with pytest.raises(UserError, match="threads once, but got --threads 4 and --set threads=1"):
        preset_protocol("quick", ("threads=1",), threads=4)
    with pytest.raises(UserError, match="Expected --set steps=N with epochs=0, since standard has no number of steps"):
        preset_protocol("standard", ("epochs=0",), task="classification")
    assert preset_protocol("standard", ("epochs=0", "steps=9"), task="classification").steps == 9
    assert preset_protocol("standard", ("epochs=0",)).steps == PRESETS["standard"].of("segmentation").steps


def test_a_task_has_its_own_recipe_in_every_preset() -> None:
    sizes = {name: (p.image_size, p.steps, p.batch_size, p.lr, p.evaluations) for name, p in recipes().items()}
    assert sizes == {
        "smoke": (64, 60, 8, 1e-3, 3),
        "quick": (128, 500, 8, 1e-3, 5),
        "standard": (128, 500, 16, 1e-3, 20),  # and 100 epochs in place of the steps
        "paper": (224, 10_000, 32, 5e-4, 25),
    }
    default = Protocol()
    for protocol in recipes().values():
        assert (protocol.loss, protocol.rot90, protocol.normalise) == ("ce", 0, "zscore")
        assert all(getattr(protocol, name) == getattr(default, name) for name in SEGMENTATION_ONLY)


def recipes() -> dict[str, Protocol]:
    return {name: preset_protocol(name, task="classification") for name in PRESETS}


def test_the_label_names_what_differs_from_the_task_s_own_recipe() -> None:
    protocol = preset_protocol("smoke", ("steps=20",), task="classification")
    assert preset_label("smoke", protocol, "classification") == "smoke with steps=20"
    assert preset_label("smoke", recipes()["smoke"], "classification") == "smoke"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("output=labels", "Protocol field output has no meaning for classification: leave --set output=labels"),
        ("dice_weight=1", "Protocol field dice_weight has no meaning for classification"),
        ("loss=ce+dice", "Expected protocol field loss to be ce for classification, but got 'ce+dice'."),
        ("loss=dice", "Expected protocol field loss to be one of ce+dice, ce, but got 'dice'."),
    ],
)
def test_what_a_task_lacks_is_no_setting_of_it(setting: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        preset_protocol("quick", (setting,), task="classification")
    assert str(error.value).startswith(message)


def test_an_unknown_preset_gets_the_near_one() -> None:
    with pytest.raises(UserError, match=r"Unknown preset 'quik'\. Did you mean: quick\?"):
        preset_protocol("quik")


@pytest.mark.parametrize(
    ("text", "expected"), [(None, [0, 1, 2]), ("2", [0, 1]), ("0,4,7", [0, 4, 7]), ("5,", [5]), ("0,", [0])]
)
def test_seeds_are_a_number_or_a_list(text: str | None, expected: list[int]) -> None:
    assert parse_seeds(text, 3) == expected


@pytest.mark.parametrize("text", ["0", "-1", "a", "1,1", "1,-2", ",", "", "9" * 20, "9" * 20 + ","])
def test_wrong_seeds_are_an_error(text: str) -> None:
    with pytest.raises(UserError, match="Expected --seeds"):
        parse_seeds(text, 3)


def test_every_field_of_the_protocol_is_documented() -> None:
    text = Protocol.__doc__ or ""
    undocumented = {"version", "loss", "batch_size"}
    assert not [f.name for f in dataclasses.fields(Protocol) if f.name not in text and f.name not in undocumented]


def test_epochs_become_steps_within_their_bounds() -> None:
    recipe = preset_protocol("standard", task="classification")
    steps = {count: recipe.for_images(count).steps for count in (136, 1000, 1476, 20_000)}
    assert steps == {136: 3000, 1000: 6250, 1476: 9225, 20_000: 10_000}
    assert preset_protocol("standard", ("steps=40",), task="classification").for_images(1476).steps == 40
    assert preset_protocol("quick").for_images(1476) == preset_protocol("quick")


@pytest.mark.parametrize(
    ("preset", "settings"), [("standard", ("steps=5000", "steps_max=4000")), ("quick", ("steps_max=100",))]
)
def test_bounds_without_epochs_are_refused(preset: str, settings: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="Expected --set steps_max with epochs, which alone it bounds"):
        preset_protocol(preset, settings, task="classification")
    with pytest.raises(UserError, match="Expected --budget, or --set steps, epochs, steps_min or steps_max"):
        Request(budget=4000, settings=("steps_min=9000",))


def test_a_budget_is_a_whole_schedule_over_so_many_images() -> None:
    recipe = preset_protocol("standard", task="classification").for_budget(48_000)
    assert (recipe.steps, recipe.for_images(1476).steps) == (3000, 3000)
    assert preset_label("standard", recipe, "classification") == "standard with steps=3000"
    assert preset_protocol("quick").for_budget(None) == preset_protocol("quick")


def test_what_a_task_lacks_is_refused() -> None:
    for task, field in (("classification", "ce_weight=1"), ("segmentation", "mixup=0.2")):
        with pytest.raises(UserError, match="has no meaning"):
            preset_protocol("standard", (field,), task=task)
    with pytest.raises(UserError, match="steps_min to be at most steps_max"):
        preset_protocol("standard", ("steps_min=20000",), task="classification")


def test_a_budget_in_place_of_a_preset_s_epochs_is_always_said() -> None:
    """Whatever number of steps it is: the field that epochs overrule holds one of them."""
    standard = PRESETS["standard"].classification
    budget = standard.for_budget(Protocol().steps * standard.batch_size)
    assert budget.steps == standard.steps, "the case in question"
    assert preset_label("standard", budget, "classification") == "standard with steps=500"
    assert preset_label("standard", standard.for_images(1_000), "classification") == "standard"


def test_epochs_that_are_asked_for_are_not_bounded() -> None:
    recipe = preset_protocol("standard", ("epochs=7",), task="classification").for_images(1476)
    assert recipe.steps == 646  # 7 x 1476 / 16, though the preset takes 3,000 at least
    bounded = preset_protocol("standard", ("epochs=7", "steps_min=1000"), task="classification").for_images(1476)
    assert bounded.steps == 1000
