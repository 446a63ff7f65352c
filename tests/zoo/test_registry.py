"""Models by name: bracketed configs, canonical names, selections, near names."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.zoo import registry
from bench.zoo.registry import (
    build_model,
    canonical_name,
    dataset_names,
    dataset_spec,
    model_names,
    parse_model,
    select_models,
    split_outside_brackets,
)


def test_names_are_known_from_entry_points() -> None:
    assert {"mednext_tiny", "unet", "unet_s", "swin_unet_s", "chance"} <= set(model_names())
    assert "acdc" in dataset_names()


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("mednext_tiny", "mednext_tiny"),
        ("mednext_tiny[sem=dilated]", "mednext_tiny"),
        ("mednext_tiny[sem=none]", "mednext_tiny[sem=none]"),
        ("mednext_tiny[sem=none,laffn=none]", "mednext_tiny[laffn=none,sem=none]"),
        ("mednext_tiny[widths=16-32-64-128]", "mednext_tiny[widths=16-32-64-128]"),
        ("mednext_tiny[widths=(16,32,64,128)]", "mednext_tiny[widths=16-32-64-128]"),
        ("mednext_tiny[drop_path=0]", "mednext_tiny"),
    ],
)
def test_one_config_has_one_name(text: str, canonical: str) -> None:
    entry, config = parse_model(text)
    assert canonical_name(entry, config) == canonical
    again, same = parse_model(canonical)
    assert (again.name, again.version, same) == (entry.name, entry.version, config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unett", "Unknown model 'unett'. Did you mean: unet"),
        ("mednext_tiny[sme=none]", "Unknown config field of mednext_tiny 'sme'. Did you mean: sem, stem?"),
        (
            "mednext_tiny[sem=none",
            "Expected a model as name[field=value,...], but got 'mednext_tiny[sem=none': the clos",
        ),
        ("mednext_tiny[sem]", "Expected field=value for mednext_tiny, but got 'sem'."),
        ("mednext_tiny[drop_path=x]", "Expected drop_path of mednext_tiny to be a float such as 0.0, but got 'x'."),
    ],
)
def test_a_wrong_name_says_what_is_right(text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        select_models(text, "cpu", "segmentation")
    assert str(error.value).startswith(message)


def test_an_unknown_filling_gets_the_near_one() -> None:
    with pytest.raises(UserError, match=r"Unknown filling of slot sem 'multiscal'\. Did you mean: multiscale\b"):
        build_model("mednext_tiny[sem=multiscal]", "segmentation", 1, 4, 64)


def test_all_means_the_preset_s_list() -> None:
    small, published = (select_models("all", name, "segmentation") for name in ("cpu", "paper"))
    assert "unet_s" in small
    assert "unet" not in small
    assert "unet" in published
    assert "unet_s" not in published
    assert "mednext_tiny" in small
    assert "chance" in small


def test_globs_and_lists_select_each_model_once() -> None:
    chosen = select_models(
        "attention_unet*,unet_s,attention_unet,mednext_tiny[sem=none,laffn=none]", "cpu", "segmentation"
    )
    assert chosen == ["attention_unet", "attention_unet_s", "unet_s", "mednext_tiny[laffn=none,sem=none]"]


def test_a_glob_that_nothing_matches_is_an_error() -> None:
    with pytest.raises(UserError, match=r"Unknown model 'zz\*'"):
        select_models("zz*", "cpu", "segmentation")


def test_a_model_that_does_not_do_the_task_is_an_error() -> None:
    with pytest.raises(UserError, match="does segmentation, but the dataset needs classification"):
        select_models("unet_s", "cpu", "classification")


def test_an_unknown_dataset_gets_the_near_one() -> None:
    with pytest.raises(UserError, match=r"Unknown dataset 'adcd'\. Did you mean: acdc\?"):
        dataset_spec("adcd")


NET = """
from torch import nn

def Net(in_channels, num_classes, offsets=(0, 1), names=("a", "b"), rates=(0.5, 1e-3), steps=((1, 2), (3, 4)),
        words=["x", "y"], on=(True, None)):
    return nn.Conv2d(in_channels, num_classes, 1)

Net.tasks = ("segmentation",)
"""


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("offsets", (-1, 1), "offsets=(-1,1)"),
        ("offsets", (2, 3), "offsets=2-3"),
        ("offsets", (), "offsets=()"),
        ("names", ("a", "c d"), "names=('a','c d')"),
        ("rates", (1e-5, 0.25), "rates=(1e-05,0.25)"),
        ("steps", ((1, 2), (3, 5)), "steps=((1,2),(3,5))"),
        ("words", ["x y", "it's"], "words=['x y',\"it's\"]"),
        ("on", (False, None), "on=False-None"),
    ],
)
def test_a_value_comes_back_from_its_name(field: str, value: object, text: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    (name,) = select_models(f"{tmp_path / 'net.py'}:Net[{field}={value!r}]", "cpu", "segmentation")
    assert name.endswith(f":Net[{text}]")
    assert parse_model(name)[1][field] == value


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ACDC", "Unknown dataset 'ACDC'. Did you mean: acdc?"),
        ("SARS_COV2_CT", "Unknown dataset 'SARS_COV2_CT'. Did you mean: sars-cov2-ct"),
        ("Zebra fish", "`medbench data add NAME --from DIR`"),
        ("zzz", "`medbench data add zzz --from DIR`"),
        ("acdc-phantom", "is what results call drawn images of acdc, and no dataset of its own: give --dataset acdc"),
        ("zzz-phantom", "`medbench data add NAME --from DIR`"),
    ],
)
def test_case_and_dashes_are_near_and_advice_can_be_followed(name: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        dataset_spec(name)
    assert said in str(error.value)


def test_a_broken_plugin_hinders_no_near_name(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("a_plugin", "not_installed_lib.nets", "medbench.models")
    monkeypatch.setattr(
        registry, "_targets", lambda group, known=registry._targets: {**known(group), "a_plugin": point}
    )
    assert "a_plugin" in model_names()
    with pytest.raises(UserError, match=r"^Unknown model 'unet_z'\. Did you mean: unet_s"):
        select_models("unet_z", "cpu", "segmentation")


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("U-Net", "unet"),
        ("UNET_S", "unet_s"),
        ("mednext-tiny", "mednext_tiny"),
        ("MedNeXt-T (reconstr.)", "mednext_tiny"),
    ],
)
def test_a_title_or_another_case_names_the_model_that_is_meant(text: str, near: str) -> None:
    with pytest.raises(UserError, match=rf"^Unknown model '.*'\. Did you mean: {near}[,?]"):
        select_models(text, "cpu", "segmentation")


def test_commas_inside_brackets_do_not_split() -> None:
    assert split_outside_brackets("a[b=1,c=(1,2)],d") == ["a[b=1,c=(1,2)]", "d"]


@pytest.mark.parametrize(
    ("text", "task", "expected"),
    [
        ("proposed", "classification", ["mednext_tiny"]),
        ("transformer", "segmentation", ["segformer_b0_s", "swin_unet_s"]),
        ("cnn,-nnunet_s", "segmentation", ["attention_unet_s", "deeplabv3plus_s", "segresnet_s", "unet_s"]),
        ("all,-*unet*,-*_s", "segmentation", ["chance", "mednext_tiny", "unext"]),
        ("unet_s,mednext_tiny[sem=none],-unet_s", "segmentation", ["mednext_tiny[sem=none]"]),
    ],
)
def test_families_and_what_is_left_out(text: str, task: str, expected: list[str]) -> None:
    assert sorted(select_models(text, "cpu", task)) == expected


def test_leaving_out_alone_leaves_out_of_all() -> None:
    everything = select_models("all", "cpu", "classification")
    assert select_models("-deit_tiny", "cpu", "classification") == [n for n in everything if n != "deit_tiny"]
    with pytest.raises(UserError, match="Unknown model to leave out 'resnet50'"):
        select_models("all,-resnet50", "cpu", "classification")
    with pytest.raises(UserError, match="selects none"):
        select_models("chance,-chance", "cpu", "classification")


def test_the_zoo_is_everything_of_a_task() -> None:
    zoo = select_models("zoo", "cpu", "segmentation")
    assert {"unet", "unet_s", "dkfz_mednext_large", "transunet", "mednext_base"} <= set(zoo)
    assert "resnet18" not in zoo
    assert set(select_models("cnn", "paper", "segmentation")) == {"attention_unet", "unet", "unet_plus_plus"}


def test_an_unknown_family_is_no_empty_list() -> None:
    from click.testing import CliRunner

    from bench.cli.main import main

    for wish in (["--task", "segmentation"], ["--format", "json"], ["--check"]):
        done = CliRunner().invoke(main, ["models", "--doctor", "unet_s", *wish])
        assert (done.exit_code, f"{wish[0]} means nothing with --doctor" in done.output) == (2, True)
    done = CliRunner().invoke(main, ["models", "--family", "cnnn"])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "Did you mean: cnn" in done.stderr
