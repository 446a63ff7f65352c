"""Networks of timm, segmentation_models_pytorch and MONAI by name alone: found, built, refused in one line."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.errors import UserError
from bench.runs.protocol import PRESETS
from bench.runs.runner import cost_of
from bench.zoo import libraries
from bench.zoo.registry import build_model, canonical_name, dataset_spec, model_entry, parse_model, select_models

FEATURES = "features=(8,8,8,8,8,8)"


@pytest.mark.parametrize(
    ("name", "task", "shape"),
    [
        ("timm:test_convnext", "classification", (2, 3)),
        ("timm:test_vit", "classification", (2, 3)),  # built for its image size
        ("smp:Unet:mobilenet_v2[decoder_channels=16-8-8-8-8]", "segmentation", (2, 3, 32, 32)),
        (f"monai:BasicUNet[{FEATURES}]", "segmentation", (2, 3, 32, 32)),
        (f"monai:BasicUNetPlusPlus[{FEATURES}]", "segmentation", (2, 3, 32, 32)),  # lists its logits
        ("monai:UNet[channels=8-8,strides=(2,)]", "segmentation", (2, 3, 32, 32)),  # these have no defaults there
    ],
)
def test_a_network_of_a_library_is_built_by_its_name(name: str, task: str, shape: tuple[int, ...]) -> None:
    entry, config = parse_model(name)
    assert (entry.tasks, entry.place, entry.family) == ((task,), "", "other")
    assert parse_model(canonical_name(entry, config)) == (entry, config)  # any process reads the record's name
    logits = build_model(name, task, 1, 3, 32).eval()(torch.zeros(2, 1, 32, 32))
    assert tuple(logits.shape) == shape


def test_what_no_default_s_type_is_known_of_reads_back_as_it_was_given() -> None:
    name = "timm:test_convnext[dims=(8,8,8,8),drop_path_rate=0.1]"
    entry, config = parse_model(name)
    assert (config["dims"], config["drop_path_rate"], config["head_init_scale"]) == ((8, 8, 8, 8), 0.1, None)
    assert canonical_name(entry, config) == name
    assert build_model(name, "classification", 1, 2, 32).state_dict()["stem.0.weight"].shape[0] == 8


def test_identity_is_name_and_version_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    first = model_entry("timm:test_convnext")
    assert first.version == model_entry("timm:test_vit").version
    assert select_models("smp:unet:resnet18,smp:Unet:resnet18", "cpu", "segmentation") == ["smp:Unet:resnet18"]
    libraries.library_entry.cache_clear()
    monkeypatch.setattr(libraries, "installed_version", lambda package: "0.0.1")
    try:
        updated: Any = model_entry("timm:test_convnext")
    finally:
        libraries.library_entry.cache_clear()
    assert (updated.version == first.version, updated.citation) == (False, "timm 0.0.1")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm:resnt18", "Unknown network of timm 'resnt18'. Did you mean: resnet18"),
        ("timm:resnet18.a1_in1k", "names pretrained weights .* timm:resnet18."),
        ("smp:Unt:resnet18", "Unknown architecture of smp"),
        ("smp:Unet:resnt18", "Unknown encoder of smp"),
        ("smp:Unet:tu-resnt18", "Unknown encoder of smp"),
        ("monai:DenseNet121", "Unknown segmenter of MONAI"),
        ("monai:BasicUNet[featurs=1]", "Unknown config field"),
    ],
)
def test_what_there_is_not_is_said_in_one_line(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_model(name)


@pytest.mark.parametrize(
    ("name", "dataset", "size", "said"),
    [
        ("timm:vit_tiny_patch16_224[depth=1]", "msld", 70, "multiple of 16, but got 70: try 64 or 80"),
        ("smp:FPN:resnet18", "acdc", 50, "multiple of 32, but got 50: try 32 or 64"),
        ("monai:UNet[channels=4-4-4,strides=2-2]", "acdc", 34, "another --set image_size"),
    ],
)
def test_an_image_size_that_does_not_fit_is_said_in_one_line(name: str, dataset: str, size: int, said: str) -> None:
    spec = dataset_spec(dataset)
    protocol = PRESETS["smoke"].of(spec.task)
    with pytest.raises(UserError, match=said):
        cost_of(name, spec, type(protocol)(**(vars(protocol) | {"image_size": size})))
