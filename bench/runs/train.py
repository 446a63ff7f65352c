"""The one training loop: plain steps on Lightning Fabric, all of them run, resumable bit for bit on the CPU."""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from bench.datasets.augmentation.batches import Mixture, augment, mix
from bench.datasets.base import Selected
from bench.records.environment import trained_on
from bench.records.store import write_bytes
from bench.runs.averaging import State, WeightAverage
from bench.runs.devices import drawn_batch, laid_out, largest_batch
from bench.runs.losses import batch_loss, make_loss
from bench.runs.protocol import Protocol
from bench.runs.replay import Replay, is_replayed
from bench.runs.seeding import derive, generator, seed_all

if TYPE_CHECKING:
    from lightning_fabric import Fabric

HISTORY_COLUMNS = ("step", "lr", "train_loss", "val_score", "average_val_score")
LOSS_EVERY = 10  # steps between two looks at the loss: each waits for a GPU
COSINE_END = 0.01  # of the rate at the end of `cosine`, as a share of the first
DEEP = "training_logits"  # the method of a network that is supervised at several resolutions
# What torch and its unpickler raise for bytes that are no checkpoint, or half of one.
_DAMAGE = (
    *(OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError),
    *(ArithmeticError, MemoryError, ImportError, struct.error),
)
DIGEST = hashlib.sha256().digest_size  # bytes at the end of a checkpoint
CHECKPOINT = {"key", "model", "optimizer", "precision", "average", "progress"}


@dataclass
class Best:
    """The best validation score so far, the first on ties, and the weights that had it."""

    score: float = -math.inf
    step: int = 0
    state: State = field(default_factory=dict)

    def consider(self, score: float, step: int, model: nn.Module) -> None:
        """Takes a round's score; the first round's weights are kept whatever their score."""
        if not self.state or score > self.score or math.isnan(self.score):
            self.score, self.step, self.state = score, step, _state(model)


@dataclass
class Progress:
    """Where a training run stands; what a checkpoint holds beside the network, the optimiser and the precision.

    Attributes:
        best: of the network's own weights. average_best: of their average. average: the average at the end.
        stretches: from which step on it was trained by what (device, cpu, torch), its batches in how many pieces; the
            first, and each that was gone on with otherwise.
    """

    step: int = 0
    seconds: float = 0.0
    best: Best = field(default_factory=Best)
    average_best: Best = field(default_factory=Best)
    average: State = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    stretches: list[dict[str, Any]] = field(default_factory=list)
    diverged: bool = False
    stopped: bool = False

    def goes_on(self, by: Mapping[str, Any]) -> None:
        """Notes that from here on it is trained by this, unless it was before."""
        before = self.stretches[-1] if self.stretches else {}
        if {**before, **by} != before:
            self.stretches.append({"from_step": self.step, **by})


@dataclass(frozen=True)
class Watch:
    """Who looks at a training run, and what of it is no part of the protocol.

    Attributes:
        validate: scores the model on the validation part; higher is better.
        on_step: called with the number of steps done.
        on_figures: called with the number of steps done, the loss and no score every few steps, and with the mean loss
            and the score of each validation round.
        on_round: called with the history, its newest row last, after each validation round that has a score.
        stop: called with the step and the score of each validation round (`judged`), those of a checkpoint too; true
            ends the run there. Only a trial of a search has it.
        on_note: called with a line that the user should read.
        pieces: parts of each batch that pass through the network one after another, their gradients summed: less memory
            for more time. Norms over a batch then see a part of it.
    """

    validate: Callable[[nn.Module], float]
    on_step: Callable[[int], None] = lambda step: None
    on_figures: Callable[[int, float, float | None], None] = lambda step, loss, score: None
    on_round: Callable[[list[dict[str, Any]]], None] = lambda history: None
    stop: Callable[[int, float], bool] = lambda step, score: False
    on_note: Callable[[str], None] = lambda line: None
    pieces: int = 1


@dataclass(frozen=True)
class Checkpoint:
    """Where a run's state is kept between validation rounds, and the key of the cell whose it is."""

    path: Path
    key: str


def learning_rate(step: int, protocol: Protocol) -> float:
    """Rate of a step (from 0): linear warm-up, times the schedule: poly (1 - step / steps) ** power, or cosine."""
    warmup = max(1, round(protocol.warmup * protocol.steps))
    done = step / protocol.steps
    if protocol.schedule == "cosine":
        falling = COSINE_END + (1 - COSINE_END) * (1 + math.cos(math.pi * done)) / 2
    else:
        falling = (1 - done) ** protocol.poly_power
    return protocol.lr * min(1.0, (step + 1) / warmup) * falling


def evaluation_steps(protocol: Protocol) -> set[int]:
    """Numbers of steps after which the validation part is scored: equal fractions, the last one at the end."""
    return {math.ceil(protocol.steps * (i + 1) / protocol.evaluations) for i in range(protocol.evaluations)}


def batch_indices(count: int, step: int, protocol: Protocol, seed: int) -> torch.Tensor:
    """Which images a step sees: a new order for each epoch, the rest of an epoch that fills no batch left out."""
    per_epoch = max(1, count // protocol.batch_size)
    epoch, place = divmod(step, per_epoch)
    order = torch.randperm(count, generator=generator(seed, "order", epoch))
    return order[place * protocol.batch_size : (place + 1) * protocol.batch_size]


def closed_parts(count: int, pieces: int) -> list[list[int]]:
    """So many parts of a batch, or fewer, each with the partners of its images in reverse order (`batches.mix`)."""
    pairs = [sorted({i, count - 1 - i}) for i in range((count + 1) // 2)]
    size = math.ceil(len(pairs) / pieces)
    groups = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    return [sorted(i for pair in group for i in pair) for group in groups]


def make_optimizer(model: nn.Module, protocol: Protocol) -> torch.optim.Optimizer:
    """AdamW; biases, what has one dimension (norms, scales), and what a network excepts are not decayed.

    On the CPU and on CUDA by torch's fused kernel, a pass over each parameter in place of ten; elsewhere, and where
    gradients are scaled, which Fabric does not clip before a fused step, as torch chooses.
    """
    from timm.optim import param_groups_weight_decay

    groups = param_groups_weight_decay(model, protocol.weight_decay, no_weight_decay_list=excepted_names(model))
    trained = [parameter for group in groups for parameter in group["params"]]
    known = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in trained)
    fused = known and protocol.precision != "16-mixed"
    return torch.optim.AdamW(groups, lr=protocol.lr, fused=fused or None)


def excepted_names(model: nn.Module) -> set[str]:
    """The parameters that a network, or any module in it, says are not to be decayed (timm's `no_weight_decay()`)."""
    found: set[str] = set()
    for place, module in model.named_modules():
        if hasattr(type(module), "no_weight_decay"):  # of the class: a wrapper passes on what its module has
            found |= {f"{place}.{name}".lstrip(".") for name in cast(Any, module).no_weight_decay()}
    return found


def train(
    model: nn.Module,
    images: Selected,
    labels: Selected,
    protocol: Protocol,
    seed: int,
    fabric: Fabric,
    watch: Watch,
    checkpoint: Checkpoint,
) -> Progress:
    """Trains all steps, from the last checkpoint if there is one of this key; leaves the model at its last weights.

    Args:
        model: set up by Fabric; what has no parameters to train may have a method `fit(labels)`, which is called once.
        images: (N, C, S, S) float32, on any device. labels: (N, S, S) uint8, or class indices (N,) int64.

    Returns:
        The run's progress, with the best weights by validation and the history.
    """
    if not any(p.requires_grad for p in model.parameters()):
        if hasattr(model, "fit"):
            every = torch.arange(len(labels), device=getattr(labels, "device", None))
            cast(Any, model).fit(fabric.to_device(labels.index_select(0, every)))
        return Progress(best=Best(watch.validate(model), 0, _state(model)))
    optimizer = cast(torch.optim.Optimizer, fabric.setup_optimizers(make_optimizer(model, protocol)))
    average = WeightAverage(model, protocol.average) if protocol.average else None
    loop = Loop(model, optimizer, make_loss(protocol), average, protocol, seed, fabric, watch.pieces)
    loop = loop.replaying(watch.on_note)
    progress, rounds = loop.load(checkpoint), evaluation_steps(protocol)
    progress.goes_on({**trained_on(str(fabric.device)), "pieces": watch.pieces})
    for row in progress.history:  # of a checkpoint: what decides about stopping hears of every round
        progress.stopped |= watch.stop(row["step"], judged(row))
    start, losses = time.perf_counter() - progress.seconds, []
    while progress.step < protocol.steps and not progress.diverged and not progress.stopped:
        losses.append(loop.step_or_tell(images, labels, progress.step))
        progress.step += 1
        watch.on_step(progress.step)
        if progress.step % LOSS_EVERY == 1:
            watch.on_figures(progress.step, losses[-1].item(), None)
        if progress.step in rounds:
            mean_loss = torch.stack(losses).mean().item()
            losses.clear()
            loop.validate(progress, mean_loss, watch.validate)
            watch.on_figures(progress.step, mean_loss, None if progress.diverged else progress.history[-1]["val_score"])
            progress.seconds = time.perf_counter() - start
            loop.save(checkpoint, progress)
            if not progress.diverged:
                watch.on_round(progress.history)
            progress.stopped = not progress.diverged and watch.stop(progress.step, judged(progress.history[-1]))
    progress.average = _copied(average.state) if average else {}
    return progress


def judged(row: Mapping[str, Any]) -> float:
    """The score of a validation round by which a run is judged: of the average, as tables show, where there is one."""
    score = row.get("average_val_score")
    return float(row["val_score"] if score is None else score)


@dataclass(frozen=True)
class Loop:
    """What the steps of one run share."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: nn.Module
    average: WeightAverage | None
    protocol: Protocol
    seed: int
    fabric: Fabric
    pieces: int = 1
    replay: Replay | None = None

    def replaying(self, say: Callable[[str], None] = lambda line: None) -> Loop:
        """The same loop, its passes through the network replayed where that is done; `say` is told if it fails."""
        if not is_replayed(self.fabric.device, self.protocol.precision, self.pieces):
            return self
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        return replace(self, replay=Replay(self.gradients, trained, say))

    def step(self, images: Selected, labels: Selected, step: int) -> torch.Tensor:
        """One optimiser step; the loss, without waiting for a device."""
        protocol = self.protocol
        chosen = batch_indices(len(images), step, protocol, self.seed)
        drawn = drawn_batch(images, labels, chosen, self.fabric.device)
        x_NCHW, y = augment(*drawn[:2], protocol, generator(self.seed, "augment", step), drawn[2])
        x_NCHW, mixture = mix(x_NCHW, protocol.mixup, derive(self.seed, "mixup", step))
        x_NCHW = laid_out(x_NCHW, self.fabric.device)
        seed_all(derive(self.seed, "dropout", step))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, protocol)
        self.model.train()
        y = y.long() if protocol.loss == "ce" else y[:, None].long()
        loss = (self.replay or self.gradients)(x_NCHW, y, mixture)
        if protocol.clip:
            self.fabric.clip_gradients(self.model, self.optimizer, max_norm=protocol.clip, error_if_nonfinite=False)
        self.optimizer.step()
        if self.average:
            self.average.update()
        return loss

    def gradients(self, x_NCHW: torch.Tensor, y: torch.Tensor, mixture: Mixture | None) -> torch.Tensor:
        """Gives each parameter the gradient of a batch; the loss, detached, without waiting for a device."""
        self.optimizer.zero_grad()
        if self.pieces > 1:
            return self._in_pieces(x_NCHW, y, mixture)
        loss = batch_loss(self.loss, self._logits(x_NCHW), y, mixture)
        self.fabric.backward(loss)
        return loss.detach()

    def step_or_tell(self, images: Selected, labels: Selected, step: int) -> torch.Tensor:
        """A step; where a GPU's memory is too small for it, the error says how large a batch would fit.

        Raises:
            OutOfMemoryError: torch's, with that number; the network is then of no use any more.
        """
        try:
            return self.step(images, labels, step)
        except torch.cuda.OutOfMemoryError as error:
            said = str(error).splitlines()[0]
        if self.replay:
            self.replay.forget()
        largest = largest_batch(lambda n: self._fits(images, labels, n), self.protocol.batch_size)
        fits = f"the largest batch that fits is {largest}" if largest else "not even one image fits"
        raise torch.cuda.OutOfMemoryError(f"{said} Of batches below {self.protocol.batch_size}, {fits}.")

    def _fits(self, images: Selected, labels: Selected, count: int) -> bool:
        """Whether a step of so many images goes through."""
        torch.cuda.empty_cache()  # nothing where CUDA was never used
        try:
            replace(self, protocol=replace(self.protocol, batch_size=count), replay=None).step(images, labels, 0)
        except (torch.cuda.OutOfMemoryError, ValueError):  # norms take no batch of one image at one pixel
            return False
        return True

    def _in_pieces(self, x_NCHW: torch.Tensor, y: torch.Tensor, mixture: Mixture | None) -> torch.Tensor:
        """The gradients of a batch, a part of it after another, and its loss: the mean over images."""
        losses = []
        for part in closed_parts(len(x_NCHW), self.pieces):
            weight = len(part) / len(x_NCHW)
            mixed = mixture and replace(mixture, partner=torch.arange(len(part) - 1, -1, -1))
            losses.append(weight * batch_loss(self.loss, self._logits(x_NCHW[part]), y[part], mixed))
            self.fabric.backward(losses[-1])
        return torch.stack([loss.detach() for loss in losses]).sum()

    def _logits(self, x_NCHW: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """What the loss is of: logits, or under deep supervision those of several resolutions."""
        if self.protocol.deep_supervision == "own" and hasattr(self.model, DEEP):
            with self.fabric.autocast():  # Fabric gives it to `forward` alone
                return [logits.float() for logits in cast(Any, self.model).training_logits(x_NCHW)]
        return self.model(x_NCHW)

    def validate(self, progress: Progress, mean_loss: float, validate: Callable[[nn.Module], float]) -> None:
        """A validation round; a loss that is not finite ends the run as diverged."""
        progress.diverged = not math.isfinite(mean_loss)
        if progress.diverged:
            return
        score = validate(self.model)
        progress.best.consider(score, progress.step, self.model)
        rate = learning_rate(progress.step - 1, self.protocol)
        row = {"step": progress.step, "lr": rate, "train_loss": mean_loss, "val_score": score}
        if self.average:
            with self.average.in_place():
                row["average_val_score"] = validate(self.model)
                progress.average_best.consider(row["average_val_score"], progress.step, self.model)
        progress.history.append(row)

    def save(self, checkpoint: Checkpoint, progress: Progress) -> None:
        """Writes all that going on needs."""
        buffer = io.BytesIO()
        content = {
            "key": checkpoint.key,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),  # of 16-mixed: the gradient scaler's state
            "average": self.average.state_dict() if self.average else {},
            "progress": vars(progress) | {"best": vars(progress.best), "average_best": vars(progress.average_best)},
        }
        torch.save(content, buffer)
        write_bytes(checkpoint.path, sealed(buffer.getvalue()))

    def load(self, checkpoint: Checkpoint) -> Progress:
        """The progress of a whole checkpoint of this key, with all that it holds set to it; else a new one."""
        content = _read_checkpoint(checkpoint.path)
        if content.get("key") != checkpoint.key or set(content) != CHECKPOINT:
            return Progress()
        stored = content["progress"]
        try:
            progress = Progress(**stored | {name: Best(**stored[name]) for name in ("best", "average_best")})
        except (TypeError, KeyError):  # of another version, with other fields
            return Progress()
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.fabric.strategy.precision.load_state_dict(content["precision"])
        if self.average:
            self.average.load_state_dict(content["average"])
        return progress


def sealed(content: bytes) -> bytes:
    """A checkpoint's bytes with their sha256 at the end: torch reads a flipped bit as another number."""
    return content + hashlib.sha256(content).digest()


def _state(model: nn.Module) -> State:
    return _copied(model.state_dict())


def _copied(state: State) -> State:
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}


def _read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content; empty where there is none, or where its file is damaged: training then starts anew."""
    try:
        written = path.read_bytes()
        if sealed(written[:-DIGEST]) != written:
            return {}
        content = torch.load(io.BytesIO(written[:-DIGEST]), map_location="cpu", weights_only=True)
    except (*_DAMAGE, pickle.UnpicklingError):
        return {}
    return content if isinstance(content, dict) else {}
