"""The one training loop: plain steps on Lightning Fabric, all of them run, resumable bit for bit on the CPU."""

from __future__ import annotations

import io
import math
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from bench.datasets.loading import augment
from bench.records.store import write_bytes
from bench.runs.protocol import Protocol
from bench.runs.seeding import derive, generator

if TYPE_CHECKING:
    from lightning_fabric import Fabric

HISTORY_COLUMNS = ("step", "lr", "train_loss", "val_score")
LOSS_EVERY = 10  # steps between two looks at the loss: each waits for a GPU
State = dict[str, torch.Tensor]


@dataclass
class Progress:
    """Where a training run stands; what a checkpoint holds beside the network, the optimiser and the precision."""

    step: int = 0
    seconds: float = 0.0
    best_score: float = -math.inf
    best_step: int = 0
    best_state: State = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    diverged: bool = False
    stopped: bool = False


def learning_rate(step: int, protocol: Protocol) -> float:
    """Rate of a step (from 0): linear warm-up, times poly decay (1 - step / steps) ** power."""
    warmup = max(1, round(protocol.warmup * protocol.steps))
    return protocol.lr * min(1.0, (step + 1) / warmup) * (1 - step / protocol.steps) ** protocol.poly_power


def evaluation_steps(protocol: Protocol) -> set[int]:
    """Numbers of steps after which the validation part is scored: equal fractions, the last one at the end."""
    return {math.ceil(protocol.steps * (i + 1) / protocol.evaluations) for i in range(protocol.evaluations)}


def batch_indices(count: int, step: int, protocol: Protocol, seed: int) -> torch.Tensor:
    """Which images a step sees: a new order for each epoch, the rest of an epoch that fills no batch left out."""
    per_epoch = max(1, count // protocol.batch_size)
    epoch, place = divmod(step, per_epoch)
    order = torch.randperm(count, generator=generator(seed, "order", epoch))
    return order[place * protocol.batch_size : (place + 1) * protocol.batch_size]


def make_optimizer(model: nn.Module, protocol: Protocol) -> torch.optim.Optimizer:
    """AdamW; biases, what has one dimension (norms, scales), and what a network excepts are not decayed.

    On the CPU by torch's fused kernel, a pass over each parameter in place of ten; on CUDA, and where gradients are
    scaled, which Fabric does not clip before a fused step, as torch chooses.
    """
    from timm.optim import param_groups_weight_decay

    groups = param_groups_weight_decay(model, protocol.weight_decay, no_weight_decay_list=excepted_names(model))
    trained = [parameter for group in groups for parameter in group["params"]]
    fused = protocol.precision != "16-mixed" and all(p.device.type == "cpu" and p.is_floating_point() for p in trained)
    return torch.optim.AdamW(groups, lr=protocol.lr, fused=fused or None)


def excepted_names(model: nn.Module) -> set[str]:
    """The parameters that a network, or any module in it, says are not to be decayed (timm's `no_weight_decay()`)."""
    found: set[str] = set()
    for place, module in model.named_modules():
        if hasattr(type(module), "no_weight_decay"):  # of the class: a wrapper passes on what its module has
            found |= {f"{place}.{name}".lstrip(".") for name in cast(Any, module).no_weight_decay()}
    return found


def make_loss(protocol: Protocol) -> nn.Module:
    """The loss of logits and labels, softmax inside.

    `ce+dice`: cross-entropy and soft Dice (MONAI's), background included, sums over the batch; of logits (N, K, H, W)
    and labels (N, 1, H, W). `ce`: mean cross-entropy of logits (N, K, ...) and labels (N, ...).
    """
    if protocol.loss == "ce":
        return nn.CrossEntropyLoss()
    from monai.losses import DiceCELoss

    return DiceCELoss(
        softmax=True,
        to_onehot_y=True,
        squared_pred=True,
        batch=True,
        lambda_ce=protocol.ce_weight,
        lambda_dice=protocol.dice_weight,
    )


def train(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    protocol: Protocol,
    seed: int,
    fabric: Fabric,
    validate: Callable[[nn.Module], float],
    checkpoint: Path,
    key: str,
    on_step: Callable[[int], None] = lambda step: None,
    on_figures: Callable[[int, float, float | None], None] = lambda step, loss, score: None,
    stop: Callable[[int, float], bool] = lambda step, score: False,
) -> Progress:
    """Trains all steps, from the last checkpoint if there is one of this key; leaves the model at its last weights.

    Args:
        model: set up by Fabric; what has no parameters to train may have a method `fit(labels)`, which is called once.
        images: (N, C, S, S) float32. labels: (N, S, S) uint8, or class indices (N,) int64.
        validate: scores the model on the validation part; higher is better.
        on_step: called with the number of steps done.
        on_figures: called with the number of steps done, the loss and no score every few steps, and with the mean loss
            and the score of each validation round.
        stop: called with the step and the score of each validation round, those of a checkpoint too; true ends the
            run there. Only a trial of a search has it.

    Returns:
        The run's progress, with the best weights by validation (the first on ties) and the history.
    """
    if not any(p.requires_grad for p in model.parameters()):
        if hasattr(model, "fit"):
            cast(Any, model).fit(fabric.to_device(labels))
        return Progress(best_score=validate(model), best_state=_state(model))
    optimizer = cast(torch.optim.Optimizer, fabric.setup_optimizers(make_optimizer(model, protocol)))
    loss_function, rounds = make_loss(protocol), evaluation_steps(protocol)
    progress = _load(checkpoint, key, model, optimizer, fabric)
    for row in progress.history:  # of a checkpoint: what decides about stopping hears of every round
        progress.stopped |= stop(row["step"], row["val_score"])
    start, losses = time.perf_counter() - progress.seconds, []
    while progress.step < protocol.steps and not progress.diverged and not progress.stopped:
        losses.append(_step(model, optimizer, loss_function, images, labels, protocol, seed, fabric, progress.step))
        progress.step += 1
        on_step(progress.step)
        if progress.step % LOSS_EVERY == 1:
            on_figures(progress.step, losses[-1].item(), None)
        if progress.step in rounds:
            mean_loss = torch.stack(losses).mean().item()
            losses.clear()
            _record(progress, model, mean_loss, validate, protocol)
            on_figures(progress.step, mean_loss, None if progress.diverged else progress.history[-1]["val_score"])
            progress.seconds = time.perf_counter() - start
            _save(checkpoint, key, model, optimizer, fabric, progress)
            progress.stopped = not progress.diverged and stop(progress.step, progress.history[-1]["val_score"])
    return progress


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_function: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    protocol: Protocol,
    seed: int,
    fabric: Fabric,
    step: int,
) -> torch.Tensor:
    chosen = batch_indices(len(images), step, protocol, seed)
    batch = augment(images, labels, protocol, generator(seed, "augment", step), chosen)
    x_NCHW, y = (fabric.to_device(tensor) for tensor in batch)
    x_NCHW = x_NCHW.contiguous(memory_format=torch.channels_last)
    torch.manual_seed(derive(seed, "dropout", step))
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, protocol)
    model.train()
    loss = loss_function(model(x_NCHW), y.long() if protocol.loss == "ce" else y[:, None].long())
    optimizer.zero_grad()
    fabric.backward(loss)
    if protocol.clip:
        fabric.clip_gradients(model, optimizer, max_norm=protocol.clip, error_if_nonfinite=False)
    optimizer.step()
    return loss.detach()


def _record(
    progress: Progress,
    model: nn.Module,
    mean_loss: float,
    validate: Callable[[nn.Module], float],
    protocol: Protocol,
) -> None:
    """A validation round; a loss that is not finite ends the run as diverged."""
    progress.diverged = not math.isfinite(mean_loss)
    if progress.diverged:
        return
    score = validate(model)
    rate = learning_rate(progress.step - 1, protocol)
    row = {"step": progress.step, "lr": rate, "train_loss": mean_loss, "val_score": score}
    progress.history.append(row)
    if not progress.best_state or score > progress.best_score or math.isnan(progress.best_score):
        progress.best_score, progress.best_step, progress.best_state = score, progress.step, _state(model)


def _state(model: nn.Module) -> State:
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def _save(
    path: Path, key: str, model: nn.Module, optimizer: torch.optim.Optimizer, fabric: Fabric, progress: Progress
) -> None:
    buffer = io.BytesIO()
    content = {
        "key": key,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "precision": fabric.strategy.precision.state_dict(),  # of 16-mixed: the gradient scaler's scale and tracker
        "progress": vars(progress),
    }
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


def _load(path: Path, key: str, model: nn.Module, optimizer: torch.optim.Optimizer, fabric: Fabric) -> Progress:
    """The progress of a whole checkpoint of this key, with all that it holds set to it; else a new one."""
    content = _read_checkpoint(path)
    if content.get("key") != key or set(content) != {"key", "model", "optimizer", "precision", "progress"}:
        return Progress()
    model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    fabric.strategy.precision.load_state_dict(content["precision"])
    return Progress(**content["progress"])


def _read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content; empty where there is none, or where its file is damaged: training then starts anew."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError):
        return {}
    return content if isinstance(content, dict) else {}
