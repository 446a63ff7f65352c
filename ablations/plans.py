"""Which arms an ablation has: the full model and it without, or with others in place of, some of its modules.

An arm is a model's name, `mednext_tiny[sem=none]`, and nothing else: it is built, counted, hashed, trained and stored
like any other model. All arms of a plan share seeds, splits, data order and augmentation, and the modules that they
share start equal. The null arm is the full model under other seeds: what it differs by is the noise of training.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ablations.matched import BUDGETS, Matched, match
from bench.errors import UserError, unknown
from bench.models.slots import SLOTS, filling_names
from bench.zoo.registry import canonical_name, parse_model


@dataclass(frozen=True)
class Plan:
    """What an ablation trains, all arms beside the full model.

    Attributes:
        model: the full one, with slots; `mednext_tiny`, or a config of it.
        remove, swap, leave_one_out, factorial: which arms there are, as `make_arms` takes them.
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
        matched: `params` or `macs` where its widths were scaled to the full model's budget, else blank.
    """

    model: str
    changes: tuple[tuple[str, str], ...] = ()
    matched: str = ""

    @property
    def label(self) -> str:
        """`full`, `without sem`, `sem=strip`, `without sem, params matched`."""
        return label(dict(self.changes), self.matched)


def label(changes: dict[str, str], matched: str = "") -> str:
    """How an arm with these changes reads in tables and figures."""
    removed = [slot for slot, filling in changes.items() if filling == "none"]
    swapped = [f"{slot}={filling}" for slot, filling in changes.items() if filling != "none"]
    words = [f"without {' + '.join(removed)}"] if removed else []
    return ", ".join([*words, *swapped, *([f"{matched} matched"] if matched else [])]) or "full"


def make_arms(
    model: str,
    remove: Sequence[str] = (),
    swap: Sequence[str] = (),
    leave_one_out: bool = False,
    factorial: bool = False,
) -> list[Arm]:
    """The arms that are asked for, the full model first, each once.

    Args:
        model: the full one, with slots; `mednext_tiny`, or a config of it.
        remove: slots, each an arm; `sem+laffn` removes two in one arm.
        swap: `sem=strip`, each an arm; `sem=strip+laffn=mlp` swaps two in one arm.
        leave_one_out: each slot removed in turn. factorial: every subset of them, all included.

    Raises:
        UserError: an unknown model, slot or filling, a model without slots, or nothing to compare.
    """
    entry, config = parse_model(model)
    slots = [slot for slot in SLOTS if slot in config]
    if not slots:
        raise UserError(f"Model {entry.name!r} has no slots to ablate. Name a proposed one: mednext_tiny.")
    wanted: list[dict[str, str]] = [{}]
    if factorial:
        wanted += [dict.fromkeys(s, "none") for n in range(1, len(slots) + 1) for s in itertools.combinations(slots, n)]
    if leave_one_out:
        wanted += [{slot: "none"} for slot in slots]
    wanted += [dict.fromkeys(_slots(item, slots), "none") for item in remove]
    wanted += [_swaps(item, slots) for item in swap]
    arms = dict.fromkeys(_arm(model, changes) for changes in wanted)
    if len(arms) < 2:
        raise UserError(
            "Expected something to ablate: `medbench ablate remove SLOT`, `remove --all`, `swap SLOT=FILLING` or "
            "`factorial`."
        )
    return list(arms)


def match_arms(arms: Sequence[Arm], budget: str, **shape: Any) -> list[tuple[Arm, Matched]]:
    """Each arm but the full one with its widths scaled to the full one's budget, beside how near that came.

    Args:
        budget: `params` or `macs`. shape: task, in_channels, num_classes, image_size.

    Returns:
        Each matched arm with what it costs.
    """
    if budget not in BUDGETS:
        raise unknown("budget", budget, BUDGETS)
    full, *rest = arms
    found = [(arm, match(arm.model, full.model, budget, **shape)) for arm in rest]
    return [(Arm(matched.name, arm.changes, budget), matched) for arm, matched in found]


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
