"""How the proposed model's design was chosen: cross-validation over training and validation patients alone.

    python -m ablations.design run --dataset acdc --steps 300 mednext_tiny "mednext_tiny[act=gelu]" unet_s
    python -m ablations.design table > results/design/table.md

Every design that was tried is a row per fold of `results/design/runs.csv`, losers and failures included; a run that
stands there is not done again. The patients of the split's test part are never opened. The score is that of the last
weights on the fold left out: mean foreground Dice, or accuracy.
"""

from __future__ import annotations

import csv
import fcntl
import math
import time
from concurrent.futures import as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.plan import Protocol, preset_protocol
from bench.registry import build_model, canonical_name, dataset_spec, parse_model

if TYPE_CHECKING:
    import pandas as pd

    from bench.datasets.prepared import Prepared

COLUMNS = (
    *("dataset", "fold", "folds", "model", "version", "steps", "image_size", "lr", "seed", "threads"),
    *("params", "macs", "score", "train_loss", "seconds", "commit"),
)
KEY = COLUMNS[:9]
RUNS = Path("results/design/runs.csv")
REFERENCES = ("unet_s", "resnet10t")


def fold_cases(data: Prepared, split: str, folds: int) -> list[list[int]]:
    """The cases of the split's training and validation patients, dealt to folds group by group."""
    from bench.datasets.folds import deal_folds
    from bench.datasets.splits import assign, make_split

    divided = make_split(data.spec, data, split)
    parts = assign(data.cases, divided).indices
    return deal_folds(data.cases, divided, (*parts["train"], *parts["val"]), folds)


def run_fold(
    dataset: str, split: str, model: str, fold: int, folds: int, protocol: Protocol, seed: int
) -> dict[str, Any]:
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
    last = {} if progress.diverged else progress.history[-1]
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
        "score": round(last["val_score"], 6) if last and math.isfinite(last["val_score"]) else None,
        "train_loss": round(last["train_loss"], 6) if last else None,
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


def summary(runs: Path) -> pd.DataFrame:
    """A row per dataset, protocol and design: folds, mean score and its difference to the reference on shared folds.

    The reference is the first design of its dataset and protocol in REFERENCES that has runs.
    """
    import pandas as pd

    frame = pd.read_csv(runs)
    rows = []
    for (dataset, steps, lr), group in frame.groupby(["dataset", "steps", "lr"], sort=False):
        wide = group.pivot_table(index=["fold", "seed"], columns=["model", "version"], values="score", sort=False)
        reference = next((c for name in REFERENCES for c in wide.columns if c[0] == name), None)
        for column in wide.columns:
            own = group[(group["model"] == column[0]) & (group["version"] == column[1])]
            shared = (wide[column] - wide[reference]).dropna() if reference else wide[column].iloc[:0]
            rows.append(
                {
                    "dataset": dataset,
                    "steps": steps,
                    "lr": lr,
                    "design": f"{column[0]} v{column[1]}",
                    "runs": len(own),
                    "score %": round(100 * own["score"].mean(), 1),
                    f"minus {'/'.join(REFERENCES)}": "" if shared.empty else f"{100 * shared.mean():+.1f}",
                    "per fold": " ".join(f"{100 * v:.1f}" for v in wide[column].dropna()),
                    "params M": round(own["params"].iloc[0] / 1e6, 2),
                    "GMACs": round(own["macs"].iloc[0] / 1e9, 3),
                }
            )
    return pd.DataFrame(rows).sort_values(["dataset", "steps", "lr", "score %"], ascending=[True, True, True, False])


@click.group()
def main() -> None:
    """Cross-validation of designs on training and validation patients."""


@main.command()
@click.option("--runs", default=RUNS, type=click.Path(path_type=Path))
def table(runs: Path) -> None:
    """Prints the table of all designs tried, as markdown."""
    click.echo(render(runs), nl=False)


def render(runs: Path) -> str:
    """The table of all designs tried, with their number."""
    frame = summary(runs)
    designs = frame.loc[frame["design"].str.startswith("mednext"), "design"].nunique()
    head = f"{designs} designs of the proposed model were tried; {frame['runs'].sum()} runs, references included.\n"
    lines = [list(frame.columns), ["---"] * len(frame.columns), *frame.astype(str).to_numpy().tolist()]
    return "\n".join([head, *(f"| {' | '.join(line)} |" for line in lines), ""])


@main.command()
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
@click.option("--runs", default=RUNS, type=click.Path(path_type=Path))
def run(
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
