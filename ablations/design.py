"""How the proposed model's design was chosen: cross-validation over training and validation patients alone.

    python -m ablations.design --dataset acdc --steps 300 mednext_tiny "mednext_tiny[act=gelu]" unet_s

Every design that was tried is a row per fold of `results/design/runs.csv`, losers and failures included; a run that
stands there is not done again. The patients of the split's test part are never opened. The score is that of the last
weights on the fold left out: mean foreground Dice, or accuracy.
"""

from __future__ import annotations

import csv
import dataclasses
import fcntl
import time
from concurrent.futures import as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.plan import Protocol, preset_protocol
from bench.registry import build_model, canonical_name, dataset_spec, parse_model

if TYPE_CHECKING:
    from bench.datasets.prepared import Prepared

COLUMNS = (
    *("dataset", "fold", "folds", "model", "version", "steps", "image_size", "lr", "seed", "threads"),
    *("params", "macs", "score", "train_loss", "seconds", "commit"),
)
KEY = COLUMNS[:9]


def fold_cases(data: Prepared, split: str, folds: int) -> list[list[int]]:
    """The cases of the split's training and validation patients, dealt to folds patient by patient.

    The order of the patients is a constant of the dataset; classes are dealt in turn, so that folds are alike.
    """
    import numpy as np

    from bench.datasets.splits import assign, make_split

    parts = assign(data.cases, make_split(data.spec, data, split)).indices
    cases = sorted((*parts["train"], *parts["val"]))
    patients = sorted({data.cases[i].patient for i in cases})
    order = [patients[i] for i in np.random.default_rng(20260105).permutation(len(patients))]
    if data.spec.task == "classification":
        label = {data.cases[i].patient: data.cases[i].label for i in cases}
        order.sort(key=lambda patient: label[patient] or 0)
    fold_of = {patient: i % folds for i, patient in enumerate(order)}
    return [[i for i in cases if fold_of[data.cases[i].patient] == fold] for fold in range(folds)]


def run_fold(dataset: str, split: str, model: str, fold: int, folds: int, protocol: Protocol, seed: int) -> dict[str, Any]:
    """Trains one design without one fold and scores it there; a row of runs.csv."""
    import tempfile

    import torch
    from lightning_fabric import Fabric

    from bench.cost.complexity import complexity
    from bench.datasets.loading import training_arrays
    from bench.datasets.prepared import locate
    from bench.environment import environment
    from bench.seeding import build_seeded
    from bench.train import train

    torch.set_num_threads(protocol.threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    spec = dataset_spec(dataset)
    data = locate(spec, "real")
    parts = fold_cases(data, split, folds)
    held_out, rest = parts[fold], [i for j, part in enumerate(parts) if j != fold for i in part]
    size = protocol.image_size
    network = build_seeded(lambda: build_model(model, spec.task, spec.channels, len(spec.classes), size), seed)
    cost = complexity(network, (1, spec.channels, size, size))
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    network = fabric.setup_module(network.to(memory_format=torch.channels_last))
    images, labels = training_arrays(data, rest, protocol)
    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        progress = train(
            network,
            images,
            labels,
            protocol,
            seed,
            fabric,
            validate=lambda net: _score(net, data, held_out, protocol),
            checkpoint=Path(scratch) / "checkpoint.pt",
            key="design",
        )
    seconds = time.perf_counter() - start
    entry, config = parse_model(model)
    last = progress.history[-1] if progress.history else {"val_score": None, "train_loss": None}
    return {
        "dataset": dataset,
        "fold": fold,
        "folds": folds,
        "model": canonical_name(entry, config),
        "version": entry.version,
        "steps": protocol.steps,
        "image_size": size,
        "lr": protocol.lr,
        "seed": seed,
        "threads": protocol.threads,
        "params": cost.params,
        "macs": cost.macs,
        "score": None if progress.diverged else round(last["val_score"], 6),
        "train_loss": None if progress.diverged else round(last["train_loss"], 6),
        "seconds": round(seconds, 1),
        "commit": environment("cpu", protocol.threads)["commit"],
    }


def _score(network: Any, data: Prepared, cases: list[int], protocol: Protocol) -> float:
    if data.spec.task == "segmentation":
        from bench.evaluate import validation_dice

        return validation_dice(network, data, cases, protocol)
    from bench.evaluate import accuracy

    return accuracy(network, data, cases, protocol)


def _append(path: Path, row: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)


def _done(path: Path) -> set[tuple[str, ...]]:
    if not path.exists():
        return set()
    with path.open(newline="") as file:
        return {tuple(row[name] for name in KEY) for row in csv.DictReader(file)}


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--dataset", default="acdc")
@click.option("--split", help="Its training and validation parts are used, never its test part.  [the default]")
@click.option("--steps", default=300)
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Override a field of `quick`.")
@click.option("--folds", default=3, help="Number of folds.")
@click.option("--only", default=None, help="Only these folds, 0,1.")
@click.option("--seed", default=0)
@click.option("--threads", default=1)
@click.option("--workers", default=2)
@click.option("--runs", default=Path("results/design/runs.csv"), type=click.Path(path_type=Path))
def main(
    models: tuple[str, ...],
    dataset: str,
    split: str | None,
    steps: int,
    settings: tuple[str, ...],
    folds: int,
    only: str | None,
    seed: int,
    threads: int,
    workers: int,
    runs: Path,
) -> None:
    """Cross-validates designs and appends a row per fold to the runs."""
    from bench.datasets.prepared import locate
    from bench.executors import make_executor

    spec = dataset_spec(dataset)
    split = split or spec.default_split[locate(spec, "real").layout]
    protocol = preset_protocol("quick", (*settings, f"steps={steps}", "evaluations=1"), threads, spec.task)
    done, todo = _done(runs), []
    for fold in map(int, only.split(",")) if only else range(folds):
        for model in models:
            entry, config = parse_model(model)
            name = canonical_name(entry, config)
            key = (dataset, fold, folds, name, entry.version, steps, protocol.image_size, protocol.lr, seed)
            if tuple(map(str, key)) not in done:
                todo.append((dataset, split, name, fold, folds, protocol, seed))
    with make_executor(workers) as executor:
        for future in as_completed([executor.submit(run_fold, *job) for job in todo]):
            row = future.result()
            _append(runs, row)
            click.echo(f"{row['model']} fold {row['fold']}: {row['score']} in {row['seconds']} s")


if __name__ == "__main__":
    main()
