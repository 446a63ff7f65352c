"""Which arms an ablation has: the full model and it without, or with others in place of, some of its modules.

An arm is a model's name, `mednext_tiny[sem=none]`, and nothing else: it is built, counted, hashed, trained and stored
like any other model. All arms of a plan share seeds, splits, data order and augmentation, and the modules that they
share start equal. The null arm is the full model under other seeds: what it differs by is the noise of training.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.errors import UserError, unknown
from bench.models.slots import SLOTS, filling_names
from bench.zoo.entry import ModelEntry
from bench.zoo.registry import canonical_name, parse_model


@dataclass(frozen=True)
class Plan:
    """What an ablation trains, all arms beside the full model.

    Attributes:
        model: the full one, with slots; `mednext_tiny`, or a config of it.
        remove: slots, each an arm; `sem+laffn` removes two in one arm.
        swap: `sem=strip`, each an arm; `sem=strip+laffn=mlp` swaps two in one arm.
        leave_one_out: each slot removed in turn. factorial: every subset of them, all included.
        match: `params` or `macs`: the arms, widened or narrowed to the full model's budget, in place of the plain ones.
        null: the full model under as many other seeds as well.
    """

    model: str = "mednext_tiny"
    remove: Sequence[str] = ()
    swap: Sequence[str] = ()
    leave_one_out: bool = False
    factorial: bool = False
    match: str | None = None
    null: bool = True


@dataclass(frozen=True)
class Arm:
    """One model of an ablation.

    Attributes:
        model: its canonical name.
        changes: slot -> filling, of the slots that differ from the full model's.
    """

    model: str
    changes: tuple[tuple[str, str], ...] = ()


def label(changes: Mapping[str, str], matched: str = "") -> str:
    """How an arm reads in tables: `full`, `without sem`, `sem=strip`, `without sem, params matched`.

    Args:
        matched: `params` or `macs` where its widths were scaled to the full model's budget, else blank.
    """
    removed = [slot for slot, filling in changes.items() if filling == "none"]
    swapped = [f"{slot}={filling}" for slot, filling in changes.items() if filling != "none"]
    words = [f"without {' + '.join(removed)}"] if removed else []
    return ", ".join([*words, *swapped, *([f"{matched} matched"] if matched else [])]) or "full"


def slots_of(entry: ModelEntry) -> list[str]:
    """The slots that a model's config has. Raises UserError for a model without any."""
    slots = [slot for slot in SLOTS if slot in entry.defaults]
    if not slots:
        raise UserError(f"Model {entry.name!r} has no slots to ablate. Name a proposed one: mednext_tiny.")
    return slots


def subsets(slots: Sequence[str]) -> list[tuple[str, ...]]:
    """Every subset of slots, the smaller first."""
    return [subset for size in range(len(slots) + 1) for subset in itertools.combinations(slots, size)]


def make_arms(plan: Plan) -> list[Arm]:
    """A plan's arms before any is matched, the full model first, each once.

    Raises:
        UserError: an unknown model, slot or filling, a model without slots, or nothing to compare.
    """
    slots = slots_of(parse_model(plan.model)[0])
    removals: list[Iterable[str]] = [()]
    removals += subsets(slots) if plan.factorial else ()
    removals += [[slot] for slot in slots] if plan.leave_one_out else ()
    removals += [_slots(item, slots) for item in plan.remove]
    changes = [dict.fromkeys(removed, "none") for removed in removals] + [_swaps(item, slots) for item in plan.swap]
    arms = dict.fromkeys(_arm(plan.model, changed) for changed in changes)
    if len(arms) < 2:
        raise UserError(
            "Expected something to ablate: `medbench ablate remove SLOT`, `remove --all`, `swap SLOT=FILLING` or "
            "`factorial`."
        )
    return list(arms)


def null_seeds(seeds: Sequence[int]) -> list[int]:
    """As many seeds as there are, the next ones that are not among them."""
    start = max(seeds) + 1
    return list(range(start, start + len(seeds)))


def _arm(model: str, changes: dict[str, str]) -> Arm:
    """The arm of a full model; a change to what it has already is none."""
    entry, config = parse_model(model)
    differing = {slot: filling for slot, filling in changes.items() if config[slot] != filling}
    return Arm(canonical_name(entry, config | differing), tuple(sorted(differing.items())))


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
