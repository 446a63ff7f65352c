"""Recipes, learning rates and designs beside each other, on folds of training patients alone.

A candidate is a model under one variant of the protocol. It is trained once for each inner fold and seed, as a cell
like any other but for its split, `ssl4mis/inner5`: a fold of the split's training part validates, the rest of that part
trains, and the split's own validation and test parts are in no part at all. Records lie below `<results>/development/`.
All candidates of a request see the same images in the same order, but where the variant itself changes that.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from bench.errors import UserError
from bench.records.filenames import DEVELOPMENT
from bench.runs.arguments import FLAG, MODELS, SEEDS, SETTINGS, Taken, argument, or_none, whole
from bench.runs.job import Event, Job, Report, silent
from bench.runs.request import Request
from bench.runs.runner import make_jobs
from bench.runs.tuning import placed


def _share(value: Any) -> Fraction:
    """`1/3`, `0.5` or a number, exactly."""
    if isinstance(value, bool):
        raise TypeError
    try:
        share = Fraction(str(value))
    except ZeroDivisionError:
        raise ValueError from None
    if not 0 < share <= 1:
        raise ValueError
    return share


def _varied(value: Any) -> tuple[str, ...]:
    """`lr=3e-4,1e-3`, several such texts, or a dict of values."""
    if isinstance(value, Mapping):
        lists = {name: [own] if isinstance(own, str | float | int) else list(own) for name, own in value.items()}
        return tuple(f"{name}={','.join(map(str, own))}" for name, own in lists.items())
    read: tuple[str, ...] = SETTINGS.read(value)
    return read


VARY = Taken("texts ('lr=3e-4,1e-3',) or a dict ({'lr': (3e-4, 1e-3)})", _varied)


@dataclass(frozen=True)
class Development(Request):
    """Models under variants of a protocol, on folds of the training part of a split.

    Attributes:
        models: as in `Request`; a design is a name with its config, `mednext_tiny[sem=none]`.
        seeds: as in `Request`; one where nothing is said.
        folds: parts of the training patients or groups. use: so many of them are held out in turn, from the first.
        vary: fields of the protocol with their values, `lr=3e-4,1e-3`. One field at a time leaves its first value.
        factorial: all combinations of the values in place of one at a time.
        share: of the steps that a run of the same request would take, `1/3`.
    """

    models: str | Sequence[str] = argument("all", MODELS)
    seeds: str | int | Sequence[int] | None = argument("1", SEEDS)
    folds: int = argument(5, whole(2, 100))
    use: int = argument(2, whole())
    vary: Sequence[str] = argument((), VARY)
    factorial: bool = argument(False, FLAG)
    share: Fraction | str | float | None = argument(
        None, or_none(Taken("a share of the steps above 0 and at most 1 ('1/3')", _share))
    )

    def __post_init__(self) -> None:
        if self.share is not None and self.budget is not None:
            raise UserError("Expected --share or --budget, but got both.")
        super().__post_init__()
        if self.use > self.folds:
            raise UserError(f"Expected --use to be at most the {self.folds} folds, but got {self.use}.")

    def divisions(self, split: str) -> list[tuple[str, int | None]]:
        """The inner folds that are held out."""
        from bench.datasets.splits.folds import INNER

        return [(f"{split}/{INNER}{self.folds}", fold) for fold in range(self.use)]


@dataclass(frozen=True)
class Candidate:
    """A model under one variant of the protocol, with the cells that it is judged by: a fold and seed each.

    Attributes:
        values: field -> value, as the request gives it, of the fields that vary in it.
    """

    model: str
    values: dict[str, str]
    jobs: tuple[Job, ...]

    @property
    def variant(self) -> str:
        """`lr=1e-3, mixup=0.2`, or `as the preset`."""
        return ", ".join(f"{name}={value}" for name, value in self.values.items()) or "as the preset"


def candidates(request: Development, report: Report = silent) -> list[Candidate]:
    """What a request compares: all variants of a model, then those of the next; a dataset after another.

    Raises:
        UserError: any name, value or folder that is not right, or two variants that are one.
    """
    said, found = _once(report), {}
    _reject_rates(request)
    _reject_both(request)
    for values in variants(request.vary, request.factorial):
        settings = (*request.settings, *(f"{name}={value}" for name, value in values.items()))
        fields = {name: getattr(request, name) for name in Request.__dataclass_fields__}
        whole_run = make_jobs(Request(**fields | {"folds": None, "seeds": 1, "settings": settings}), said)
        protocols = {job.cell.dataset: job.cell.protocol for job in whole_run}
        for dataset, protocol in protocols.items():
            length = tuple(_length(request, protocol))
            fixed = {text.partition("=")[0] for text in length}
            chosen = (*(text for text in settings if text.partition("=")[0] not in fixed), *length)
            jobs = make_jobs(replace(request, dataset=[dataset], settings=chosen, share=None, budget=None), said)
            for model in dict.fromkeys(job.model for job in jobs):
                own = tuple(_without_test(job) for job in jobs if job.model == model)
                found[dataset, model, tuple(values.items())] = Candidate(model, values, own)
    _reject_equal(list(found.values()))
    places = {key[:2]: None for key in found}
    return [found[key] for place in places for key in found if key[:2] == place]


def all_jobs(found: Sequence[Candidate]) -> list[Job]:
    """The cells of all candidates, fold by fold, so that what is cut short has whole folds."""
    jobs = [job for candidate in found for job in candidate.jobs]
    return sorted(jobs, key=lambda job: (job.cell.seed, job.cell.fold or 0))


def variants(vary: Sequence[str], factorial: bool = False) -> list[dict[str, str]]:
    """`lr=1,2` and `mixup=0,0.2` as variants of the protocol, the first values first; {} alone where nothing varies.

    Args:
        factorial: all combinations; else each other value with the first ones of the other fields.

    Raises:
        UserError: a text of another form, or a field that is named twice.
    """
    fields: dict[str, list[str]] = {}
    for text in vary:
        name, equals, values = text.partition("=")
        listed = [value.strip() for value in values.split(",")]
        if not equals or not all(listed):
            raise UserError(f"Expected --vary FIELD=VALUE,VALUE, but got {text!r}.")
        if name in fields:
            raise UserError(f"Expected each field once in --vary, but got {name} twice: list its values by commas.")
        if len({*listed}) < len(listed):
            raise UserError(f"Expected each value of {name} once in --vary, but got {values!r}.")
        fields[name] = listed
    if factorial:
        return [dict(zip(fields, values, strict=True)) for values in itertools.product(*fields.values())]
    first = {name: values[0] for name, values in fields.items()}
    return [first, *(first | {name: value} for name, values in fields.items() for value in values[1:])]


def _length(request: Development, protocol: dict[str, Any]) -> Iterator[str]:
    """The settings that fix a candidate's steps, the same in all folds: their training parts differ by a few cases.

    Args:
        protocol: of a run of the same request.
    """
    yield f"steps={max(1, round(protocol['steps'] * Fraction(request.share or 1)))}"
    if any(text.partition("=")[0] == "epochs" for text in (*request.settings, *request.vary)):
        yield "epochs=0"  # they are in the steps already, and would be taken of a fold's images again


def _without_test(job: Job) -> Job:
    """The job as a trial: nothing but validation, its folder apart from results."""
    return placed(job, replace(job.cell, unscored=True), job.preset, DEVELOPMENT)


def _reject_rates(request: Development) -> None:
    """Rates do not vary where each network takes its own from the grid: all variants would train alike."""
    varied = [text for text in request.vary if text.partition("=")[0] == "lr"]
    rates = [text for text in (*request.settings, *request.vary) if text.partition("=")[0] == "rates"]
    if varied and any("grid" in text for text in rates):
        raise UserError(
            f"Expected --vary {varied[0]} or rates=grid, but got both: from the grid each network takes the rate that "
            "was chosen for it, whatever lr says. Leave rates=grid out to compare rates."
        )


def _reject_both(request: Development) -> None:
    """Raises UserError where a field varies and is set: one of the two would be ignored."""
    vary, settings = ({text.partition("=")[0] for text in texts} for texts in (request.vary, request.settings))
    if both := sorted(vary & settings):
        raise UserError(f"Expected a field in --vary or in --set, but got {both[0]} in both.")


def _reject_equal(found: Sequence[Candidate]) -> None:
    seen: dict[str, Candidate] = {}
    for candidate in found:
        other = seen.setdefault(candidate.jobs[0].cell.key, candidate)
        if other is not candidate:
            raise UserError(
                f"Expected distinct variants of {candidate.model}, but {other.variant} and {candidate.variant} are one."
            )


def _once(report: Report) -> Callable[[Event], None]:
    """The report without notes that it has had."""
    said: set[str] = set()

    def tell(event: Event) -> None:
        if event.kind != "note" or event.text not in said:
            said.add(event.text)
            report(event)

    return tell
