"""Weights that others trained, for networks that say where theirs are: fetched, hashed, put in place of random ones.

Only safetensors are read. A cell's key holds the hash of the file, so that other weights are another cell; cells that
start from such weights stand in tables of their own.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UserError
from bench.zoo.entry import ModelEntry
from bench.zoo.registry import parse_model

if TYPE_CHECKING:
    from torch import nn


def initial_weights(names: list[str]) -> dict[str, dict[str, str]]:
    """Model -> {"weights": the hub's repository, "sha256": of its file}; each is fetched, or found in the hub's cache.

    Chance has no parameters: its weights are `none`.

    Raises:
        UserError: a model has no such weights, or the hub cannot be reached.
    """
    entries = {name: parse_model(name)[0] for name in names}
    lacking = [name for name, entry in entries.items() if entry.pretrained is None and entry.family != "chance"]
    if lacking:
        raise UserError(
            f"No pretrained weights are known for {', '.join(lacking)}: leave them out "
            f"(--models all,{','.join(f'-{name}' for name in lacking)}), or run without --pretrained."
        )
    weights = {name: {"weights": "none", "sha256": ""} for name in names}
    for name, entry in entries.items():
        if entry.pretrained is not None:
            repository = entry.pretrained.repository()
            digest = hashlib.sha256(weights_file(repository).read_bytes()).hexdigest()
            weights[name] = {"weights": repository, "sha256": digest}
    return weights


def weights_file(repository: str) -> Path:
    """A repository's `model.safetensors`, from the hub or from its cache on disk.

    Raises:
        UserError: neither has it.
    """
    import huggingface_hub
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()
    try:
        return Path(huggingface_hub.hf_hub_download(repository, "model.safetensors"))
    except (OSError, huggingface_hub.errors.HfHubHTTPError) as error:
        raise UserError(
            f"Cannot fetch model.safetensors of {repository} ({type(error).__name__}): go online, fill the hub's cache "
            "(HF_HOME), or run without --pretrained."
        ) from None


def load_pretrained(model: nn.Module, entry: ModelEntry, init: dict[str, str], shape: tuple[int, int, int]) -> None:
    """Puts the weights in place, all but the head's, which stay as the cell's seed drew them.

    Args:
        init: what `initial_weights` found.
        shape: channels and classes, and the image size in pixels.

    Raises:
        UserError: the file is no longer the one that was found, or does not hold the network's weights.
    """
    import safetensors.torch

    if entry.pretrained is None:  # chance
        return
    content = weights_file(init["weights"]).read_bytes()
    if hashlib.sha256(content).hexdigest() != init["sha256"]:
        raise UserError(f"The weights of {init['weights']} changed while running: give the same command again.")
    state = entry.pretrained.adapt(safetensors.torch.load(content), *shape)
    drawn = model.state_dict()
    unfit = [key for key in drawn if key not in state and not key.startswith(entry.pretrained.heads())]
    unfit += [key for key, value in state.items() if key not in drawn or value.shape != drawn[key].shape]
    if unfit:
        raise UserError(f"The weights of {init['weights']} are not those of {entry.name}: see {unfit[0]}.")
    model.load_state_dict(state, strict=False)
