"""Which arms an ablation has: the full model and it with other values of its config, its modules among them.

An arm is a model's name, `mednext_tiny[sem=none]`, and nothing else: it is built, counted, hashed, trained and stored
like any other model. All arms of a plan share seeds, splits, data order and augmentation, and the modules that they
share start equal. The null arm is the full model under other seeds: what it differs by is the noise of training.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bench.errors import UserError, unknown
from bench.models.slots import SLOTS, filling_names
from bench.zoo.entry import ModelEntry
from bench.zoo.registry import parse_model, placed_name, value_text, with_values

Item = TypeVar("Item")
REMOVED = ("none", "False")  # values that say that something is not there
WIDTHS = ("widths", "width", "features", "channels", "dims", "dim", "filters", "feature_size", "init_filters")


@dataclass(frozen=True)
class Plan:
    """What an ablation trains, all arms beside the full model.

    Attributes:
        model: the full one, or a config of it; the next three are of models with slots.
        remove: slots, each an arm; `sem+laffn` removes two in one arm.
        swap: `sem=strip`, each an arm; `sem=strip+laffn=mlp` swaps two in one arm.
        leave_one_out: each slot removed in turn.
        arm: `se=false`, of any model's config, each an arm; `se=false+width=16` changes two fields in one arm.
        factorial: every subset of the arms of `arm`, all included; without these of the slots.
        match: `params` or `macs`: the arms, widened or narrowed to the full model's budget, in place of the plain ones.
        widen: the config field that is widened for it; None: the first of `WIDTHS` that the model has.
        null: the full model under as many other seeds as well.
    """

    model: str = "mednext_tiny"
    remove: Sequence[str] = ()
    swap: Sequence[str] = ()
    leave_one_out: bool = False
    arm: Sequence[str] = ()
    factorial: bool = False
    match: str | None = None
    widen: str | None = None
    null: bool = True


@dataclass(frozen=True)
class Arm:
    """One model of an ablation.

    Attributes:
        model: its name, with a file's place in it.
        changes: field -> value as a name in brackets has it, of the fields that differ from the full model's.
    """

    model: str
    changes: tuple[tuple[str, str], ...] = ()


def label(changes: Mapping[str, str], matched: str = "") -> str:
    """How an arm reads in tables: `full`, `without sem`, `sem=strip`, `without sem, params matched`.

    Args:
        matched: `params` or `macs` where its widths were scaled to the full model's budget, else blank.
    """
    removed = [field for field, value in changes.items() if value in REMOVED]
    others = [name_of_change(field, value) for field, value in changes.items() if value not in REMOVED]
    words = [f"without {' + '.join(removed)}"] if removed else []
    return ", ".join([*words, *others, *([f"{matched} matched"] if matched else [])]) or "full"


def name_of_change(field: str, value: str) -> str:
    """How one change reads: `without sem`, `with se`, `width=16`."""
    if value in REMOVED:
        return f"without {field}"
    return f"with {field}" if value == "True" else f"{field}={value}"


def slots_in(entry: ModelEntry) -> list[str]:
    """The slots that a model's config has."""
    return [slot for slot in SLOTS if slot in entry.defaults]


def slots_of(entry: ModelEntry) -> list[str]:
    """The slots that a model's config has. Raises UserError for a model without any."""
    if not slots_in(entry):
        fields = ", ".join(f"{name}={value_text(value, value)}" for name, value in entry.defaults.items())
        raise UserError(
            f"Model {entry.name!r} has no slots to ablate: name fields of its config, --arm FIELD=VALUE (it has "
            f"{fields or 'none'}), or a model with slots, mednext_tiny."
        )
    return slots_in(entry)


def fields_of(entry: ModelEntry, arms: Sequence[str] = ()) -> tuple[str, ...]:
    """The fields in which a model's arms may differ: its slots and those that `arms` name; without slots all."""
    slots = set(slots_in(entry))
    return tuple(field for field in entry.defaults if not slots or field in slots | named_fields(arms))


def named_fields(arms: Sequence[str]) -> frozenset[str]:
    """The fields that arms such as `se=false+width=16` change."""
    return frozenset(item.partition("=")[0] for text in arms for item in text.split("+"))


def width_field(entry: ModelEntry, named: str | None = None) -> str | None:
    """The config field that holds a model's widths: the one that is named, else the first of `WIDTHS`; or None.

    Raises:
        UserError: the field that is named is not of the config, or holds no whole numbers.
    """
    if named is not None and named not in entry.defaults:
        raise unknown(f"config field of {entry.name}", named, entry.defaults)
    found = [field for field in ((named,) if named else WIDTHS) if _holds_widths(entry.defaults.get(field))]
    if named is not None and not found:
        raise UserError(f"Expected --widen to be a field with whole numbers, but {named} is {entry.defaults[named]!r}.")
    return found[0] if found else None


def _holds_widths(value: Any) -> bool:
    numbers = value if isinstance(value, tuple) else (value,)
    return bool(numbers) and all(type(number) is int for number in numbers)


def subsets(items: Sequence[Item]) -> list[tuple[Item, ...]]:
    """Every subset of slots, or of changes, the smaller first."""
    return [subset for size in range(len(items) + 1) for subset in itertools.combinations(items, size)]


def make_arms(plan: Plan) -> list[Arm]:
    """A plan's arms before any is matched, the full model first, each once.

    Raises:
        UserError: an unknown model, slot or filling, a model without slots, nothing to compare, or a field to widen
            where no budget is to be matched.
    """
    entry, _ = parse_model(plan.model)
    if plan.widen is not None and plan.match is None:
        raise UserError(f"Expected --widen {plan.widen} with --match params or --match macs, whose field it names.")
    changes: list[dict[str, Any]] = [{}, *_of_slots(plan, entry)]
    named = [arm_values(text, entry) for text in plan.arm]
    changes += _combined(named) if plan.factorial else named
    arms = dict.fromkeys(_arm(plan.model, changed) for changed in changes)
    if len(arms) < 2:
        raise UserError(
            "Expected something to ablate: `medbench ablate remove SLOT`, `remove --all`, `swap SLOT=FILLING`, "
            "`factorial`, or of any model `--arm FIELD=VALUE`."
        )
    return list(arms)


def _of_slots(plan: Plan, entry: ModelEntry) -> list[dict[str, Any]]:
    """The changes that a plan asks for by slots."""
    is_factorial = plan.factorial and not plan.arm
    if not (plan.remove or plan.swap or plan.leave_one_out or is_factorial):
        return []
    slots = slots_of(entry)
    removals: list[Iterable[str]] = [*subsets(slots)] if is_factorial else []
    removals += [[slot] for slot in slots] if plan.leave_one_out else ()
    removals += [_slots(item, slots) for item in plan.remove]
    return [dict.fromkeys(removed, "none") for removed in removals] + [_swaps(item, slots) for item in plan.swap]


def arm_values(text: str, entry: ModelEntry) -> dict[str, Any]:
    """`se=false+width=16` -> the fields' values. Raises UserError for a field, or a value, that the model has not."""
    items = [item for item in text.split("+") if item]
    fields = [item.partition("=")[0] for item in items]
    if not items or len(set(fields)) < len(fields):
        raise UserError(f"Expected --arm FIELD=VALUE, each field once, but got {text!r}.")
    for item in items:
        if item.partition("=")[0] in slots_in(entry):
            _swaps(item, slots_in(entry))
    changed = with_values(entry, entry.defaults, items)
    return {field: changed[field] for field in fields}


def _combined(named: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every subset of changes, the smaller first. Raises UserError where two of them change one field."""
    fields = [field for changes in named for field in changes]
    if len(set(fields)) < len(fields):
        raise UserError(f"Expected each field in one --arm of a factorial, but got {', '.join(fields)}.")
    return [{field: value for changes in subset for field, value in changes.items()} for subset in subsets(named)]


def null_seeds(seeds: Sequence[int]) -> list[int]:
    """As many seeds as there are, the next ones that are not among them."""
    start = max(seeds) + 1
    return list(range(start, start + len(seeds)))


def _arm(model: str, changes: Mapping[str, Any]) -> Arm:
    """The arm of a full model; a change to what it has already is none."""
    entry, config = parse_model(model)
    differing = {field: value for field, value in changes.items() if config[field] != value}
    texts = {field: value_text(value, entry.defaults[field]) for field, value in differing.items()}
    return Arm(placed_name(entry, config | differing), tuple(sorted(texts.items())))


def _slots(text: str, slots: Sequence[str]) -> list[str]:
    names = [name for name in text.split("+") if name]
    for name in names:
        if name not in slots:
            raise unknown("slot", name, slots)
    if not names:
        raise UserError(f"Expected slots to remove, but got {text!r}. Slots: {', '.join(slots)}.")
    return names


def _swaps(text: str, slots: Sequence[str]) -> dict[str, str]:
    changes = {}
    for item in text.split("+"):
        slot, equals, name = item.partition("=")
        if not equals:
            raise UserError(f"Expected a swap SLOT=FILLING, such as sem=strip, but got {text!r}.")
        if slot not in slots:
            raise unknown("slot", slot, slots)
        if name not in filling_names(slot):
            raise unknown(f"filling of slot {slot}", name, filling_names(slot))
        changes[slot] = name
    return changes
