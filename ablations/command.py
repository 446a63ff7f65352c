"""What `medbench ablate` does, behind its options: arms run and tabulated, the search, the listing, the replay."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ablations.drawings import draw_ablation, draw_search, with_budget
from ablations.effects import Stored, arms_and_notes, fanova
from ablations.journal import FOLDER, read_study
from ablations.listing import listing
from ablations.matched import Matched, match
from ablations.plans import Arm, Plan, arm_values, label, make_arms, null_seeds, width_field
from ablations.search import best, front
from ablations.studies import open_arms, write_trials
from ablations.tables import ablation_tables, listing_table
from bench.analysis.captions import PHANTOM, preset_words
from bench.analysis.provenance import run_words
from bench.analysis.sheet import Sheet
from bench.analysis.short_budget import budget_mark
from bench.analysis.throughput import with_throughput
from bench.analysis.units import with_units
from bench.errors import UserError
from bench.records import store
from bench.records.choice import listed
from bench.records.keys import dataset_of
from bench.records.profiles import load_profiles
from bench.records.seeds import parse_seeds
from bench.report.sheets import render_sheets
from bench.runs.job import Job, Report, is_reusable, silent
from bench.runs.protocol import PRESETS, preset_protocol
from bench.runs.request import Request
from bench.runs.runner import make_jobs, run_jobs
from bench.zoo.registry import canonical_name, dataset_spec, model_names, parse_model

if TYPE_CHECKING:
    import optuna

    from bench.analysis.comparison import Table


def plan_jobs(plan: Plan, request: Request, report: Report = silent) -> tuple[list[Job], list[str]]:
    """The cells of an ablation on one dataset, and lines that say how near matched arms came.

    Args:
        request: all but the models, which are the plan's arms.

    Raises:
        UserError: an unknown slot, filling, model or dataset, or what `make_jobs` raises.
    """
    full, *arms = make_arms(plan)
    models, lines = [arm.model for arm in arms], list[str]()
    if plan.match:
        named = (str(request.dataset), request.preset, request.settings, request.threads)
        shape = _input_of(*named, request.data_root)
        models, lines = _matched(plan, full, arms, shape)
    jobs = make_jobs(replace(request, models=[full.model, *models]), report)
    if plan.null:
        other_seeds = null_seeds(parse_seeds(request.seeds, PRESETS[request.preset].seeds))
        jobs += make_jobs(replace(request, models=[full.model], seeds=other_seeds), report)
    return jobs, lines


def _matched(
    plan: Plan, full: Arm, arms: Sequence[Arm], shape: tuple[str, int, int, int]
) -> tuple[list[str], list[str]]:
    """The arms at the full model's budget, and a line for each; one that changes the widths itself stays as it is."""
    field, models, lines = width_field(parse_model(plan.model)[0], plan.widen), [], []
    for arm in arms:
        if field in dict(arm.changes):
            models.append(arm.model)
            lines.append(f"{label(dict(arm.changes))}: not matched, since {field} is what is widened")
            continue
        scaled = match(arm.model, full.model, str(plan.match), *shape, plan.widen)
        models.append(scaled.name)
        lines.append(
            f"{label(dict(arm.changes), str(plan.match))}: {scaled.name}, {_nearness(scaled, str(plan.match))}"
        )
    return models, lines


def _input_of(
    dataset: str, preset: str, settings: Sequence[str], threads: int | None, data_root: str | Path | None = None
) -> tuple[str, int, int, int]:
    """Task, channels, classes and image size of the networks that a dataset's cells train."""
    spec = dataset_spec(dataset, data_root)
    protocol = preset_protocol(preset, tuple(settings), threads, spec.task)
    return spec.task, spec.channels, len(spec.classes), protocol.image_size


def _nearness(arm: Matched, budget: str) -> str:
    near = "" if arm.within_one_percent else ", the nearest reachable: not within 1 %"
    return f"{arm.params / 1e6:.3f} M params, {arm.macs / 1e9:.4f} GMACs, {arm.ratio:.4f} x the {budget}{near}"


def open_studies(
    planned: Sequence[Sequence[Job]], results: Path, study: str | None = None, storage: str | None = None
) -> list[optuna.Study]:
    """Opens the study of each dataset's arms; of several a name that was given gets the dataset's behind it.

    Raises:
        UserError: one of them is of something else, or cannot be opened.
    """
    many = study is not None and len(planned) > 1
    names = [f"{study}-{jobs[0].cell.dataset_label}" if many else study for jobs in planned]
    return [open_arms(jobs, results, name, storage) for jobs, name in zip(planned, names, strict=True)]


def run_ablation(jobs: Sequence[Job], results: Path, study: optuna.Study, report: Report = silent) -> list[Job]:
    """Runs the cells that are not done and writes their study; returns the jobs whose cell is not finished at the end.

    Killed, the same call goes on; several processes may share the cells.

    Args:
        study: opened before anything is trained (`open_studies`), so that one of something else is refused in time.
    """
    run_jobs(list(jobs), report=report)
    write_trials(study, jobs, results)
    return [job for job in jobs if not is_reusable(job)]


def diverged(jobs: Sequence[Job]) -> list[Job]:
    """The jobs whose cell ended without a score, since its network was not finite."""
    return [job for job in jobs if (store.read_record(job.folder) or {}).get("status") == "diverged"]


def load_ablations(
    results: Path,
    model: str = "mednext_tiny",
    dataset: str | None = None,
    arms: Sequence[str] = (),
    comparisons: Collection[str] | None = None,
    widen: str | None = None,
) -> tuple[list[Stored], tuple[str, ...]]:
    """The ablations of a model among stored records, with measured speeds; and lines on what was left out.

    Args:
        dataset: as it reads in tables (`acdc`, `acdc-phantom`), several by commas; None: all.
        arms: of a plan (`Plan.arm`), whose fields arms of a model with slots may differ in too.
        comparisons: the keys of those that count; None: all.
        widen: of a plan (`Plan.widen`), the field that matched arms differ in too.

    Raises:
        UserError: an unknown model, or an arm of a field or a value that it has not.
    """
    entry, _ = parse_model(model)
    for arm in arms:
        arm_values(arm, entry)
    (cells, cases), profiles = store.load_cells_and_cases(results), load_profiles(results)
    notes = (*cells.attrs["notes"], *profiles.attrs["notes"])
    cells, cases = with_units(with_throughput(cells, profiles), cases, results)
    if dataset is not None:
        cells = cells[cells["dataset"].isin(listed(dataset))]
    if comparisons is not None:
        cells = cells[cells["comparison"].isin(list(comparisons))]
    found, without_table = arms_and_notes(cells, cases, model, arms=arms, widen=widen)
    return found, (*notes, *without_table)


def write_all(comparisons: Sequence[Stored], folder: Path) -> list[Path]:
    """Writes the tables of stored ablations as Markdown, LaTeX and CSV, and their figures."""
    tables = _write_tables(ablation_tables(comparisons), folder, "ablations")
    return tables + [path for stored in comparisons for path in draw_ablation(stored, folder)]


def draw_stored(results: Path, tables: Sequence[Table], folder: Path) -> list[Path]:
    """Writes the figures of the ablations of these tables' comparisons, and of the searches on their data sets."""
    drawn = [path for stored in ablations_beside(results, tables) for path in draw_ablation(stored, folder)]
    for study in searches_beside(results, tables):
        drawn += draw_search(study, search_title(study), search_importances(study), folder)
    return drawn


def ablations_beside(results: Path, tables: Sequence[Table]) -> list[Stored]:
    """The ablations whose full model is a proposed one in one of these tables, of the same comparisons."""
    shown = pd.concat([table.cells[["model", "family", "comparison"]] for table in tables])
    proposed = [str(name) for name in shown.loc[shown["family"] == "proposed", "model"]]
    proposed = [name.partition("[")[0].partition(" v")[0] for name in proposed]
    # Folders are named after models: where none is of an arm, the records need not be read for it.
    folders = {folder.parent.name for folder in store.find_records(results)}
    known = [name for name in sorted(set(proposed)) if any(folder.startswith(f"{name}[") for folder in folders)]
    known = [name for name in known if name in model_names()]
    found = [stored for name in known for stored in load_ablations(results, name)[0]]
    return [stored for stored in found if stored.first["comparison"] in set(shown["comparison"])]


def searches_beside(results: Path, tables: Sequence[Table]) -> list[optuna.Study]:
    """The searches with a finished trial whose data set one of these tables is of."""
    datasets = {table.name for table in tables}
    found = (study for study in load_searches(results)[0] if study.user_attrs["about"]["dataset"] in datasets)
    return [study for study in found if any(t.state.name == "COMPLETE" for t in study.get_trials(deepcopy=False))]


def _write_tables(tables: Sequence[Sheet], folder: Path, stem: str) -> list[Path]:
    paths = []
    for form, suffix in (("markdown", "md"), ("latex", "tex"), ("csv", "csv")):
        paths.append(path := folder / f"{stem}.{suffix}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            store.write_text(path, render_sheets(tables, form))
        except OSError as error:
            raise UserError(f"Cannot write {path}: {error.strerror}. Name another folder with --output.") from None
    return paths


def search_template(model: str, request: Request, report: Report = silent) -> Job:
    """The cell that a search takes all but model and seed from."""
    return make_jobs(replace(request, models=[model], seeds=[0]), report)[0]


def listing_tables(
    model: str, datasets: Sequence[str], preset: str, settings: Sequence[str], threads: int | None
) -> list[Sheet]:
    """A table for each dataset: slots and fillings, with what the whole model costs at its input."""
    shapes = {dataset: _input_of(dataset, preset, settings, threads) for dataset in datasets}
    return [listing_table(model, dataset, listing(model, *shape), shape) for dataset, shape in shapes.items()]


def search_tables(study: optuna.Study) -> list[Sheet]:
    """The front, and the importances, of a search."""
    about, trials = study.user_attrs["about"], study.get_trials(deepcopy=False)
    states = pd.Series([_state_of(t) for t in trials]).value_counts()
    counts = ", ".join(f"{n} {state}" for state, n in states.items())
    chosen = best(study)
    limit = "" if about["max_macs"] is None else f", at most {about['max_macs'] / 1e9:g} GMACs"
    marks = [PHANTOM] * ("phantom" in about["dataset"]) + [budget_mark(_images_seen(study))]
    caption = (
        f"{''.join(f'{mark}. ' for mark in marks if mark)}Search over {about['model']}: {about['dataset']}, "
        f"preset {preset_words(about['preset'])}, {about['steps']} steps a trial{limit}. Trials: {counts}. Validation "
        "data alone; the front: what no other trial beats in both score and MACs."
    )
    rows = [
        {
            "Model": t.user_attrs["model"],
            "Trial": str(t.number),
            "Validation score": f"{t.values[0]:.4f}",
            "GMACs": f"{t.user_attrs['macs'] / 1e9:.3f}",
            "Params (M)": f"{t.user_attrs['params'] / 1e6:.2f}",
        }
        for t in front(study)
    ]
    note = f"The best by validation score: {_command(about, chosen.user_attrs['model'])}."
    tables = [Sheet(caption, pd.DataFrame(rows), (note,), name=f"{study.study_name}-front")]
    shares = search_importances(study)
    if shares:
        frame = pd.DataFrame([{"Parameter": k, "Importance (fANOVA)": f"{v:.3f}"} for k, v in shares.items()])
        text = (
            "Importances by Optuna, evaluator fANOVA, of the finished trials' validation scores; no sign, no interval."
        )
        tables.append(Sheet(text, frame, name=f"{study.study_name}-importances"))
    return tables


def _images_seen(study: optuna.Study) -> int:
    """In a trial of a search; its journal holds the steps, and the batch where the preset's label has another."""
    about = study.user_attrs["about"]
    name, _, changes = about["preset"].partition(" with ")
    changed = re.search(r"\bbatch_size=(\d+)", changes)
    task = study.user_attrs.get("task")  # of studies that were begun before it was kept, by the name of their data
    task = task or dataset_spec(dataset_of(about["dataset"])).task
    return int(about["steps"]) * (int(changed[1]) if changed else PRESETS[name].of(task).batch_size)


def _command(about: dict[str, Any], model: str) -> str:
    """`medbench run` of a model as the trials of a study were trained."""
    words = run_words(model, about["dataset"], about["preset"])
    words += ["--data", "phantom"] * about["dataset"].endswith("-phantom")
    return f"medbench run {shlex.join(words)}"


def _state_of(trial: Any) -> str:
    if "rejected" in trial.user_attrs:
        return f"rejected before training ({trial.user_attrs['rejected'].partition(':')[0]})"
    if "repeated" in trial.user_attrs:
        return "repeated (drawn before, with the value it had)"
    return {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed or taken back"}.get(
        trial.state.name, trial.state.name.lower()
    )


def search_importances(study: optuna.Study) -> dict[str, float]:
    """Parameter -> importance among finished trials; empty with fewer than four, or where all score the same."""
    done = [t for t in study.get_trials(deepcopy=False) if t.state.name == "COMPLETE"]
    if len(done) < 4 or len({t.values[0] for t in done}) < 2:
        return {}
    return fanova(study, (lambda trial: trial.values[0]) if len(study.directions) > 1 else None)


def write_search(study: optuna.Study, folder: Path) -> list[Path]:
    """Writes a search's tables as Markdown, LaTeX and CSV, and its figures."""
    paths = _write_tables(search_tables(study), folder, study.study_name)
    return paths + draw_search(study, search_title(study), search_importances(study), folder)


def search_title(study: optuna.Study) -> str:
    """What a search is of, above its figures."""
    about = study.user_attrs["about"]
    source = "PHANTOM images, " if "phantom" in about["dataset"] else ""
    title = (
        f"Search over {source}{about['model']}, {about['dataset']}, {about['preset']}, {about['steps']} steps a trial"
    )
    return with_budget(title, _images_seen(study))


def load_searches(
    results: Path, dataset: str | None = None, model: str | None = None
) -> tuple[list[optuna.Study], list[str]]:
    """The searches whose journals lie in a results folder, and a line for each journal that cannot be read.

    Args:
        dataset: as it reads in tables; None: all.
        model: the one that was searched over, of whichever version; None: all.
    """
    studies, notes = [], []
    name = None if model is None else canonical_name(*parse_model(model))
    for path in sorted((results / FOLDER).glob("search-*.log")):
        try:
            study = read_study(path)
        except UserError as error:
            notes.append(f"Left out: {error}")
            continue
        about = study.user_attrs["about"]
        if dataset in (None, about["dataset"]) and name in (None, about["model"].rpartition(" v")[0]):
            studies.append(study)
    return studies, notes


def front_models(study: optuna.Study) -> list[str]:
    """The front as names that `medbench run` takes."""
    return [trial.user_attrs["model"] for trial in front(study)]
