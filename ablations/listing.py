"""What may stand in each slot of a model, and what the whole model then costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import UserError
from bench.zoo.entry import ModelEntry
from bench.zoo.registry import parse_model

if TYPE_CHECKING:
    import pandas as pd

    from bench.zoo.complexity import Complexity


def slots_of(entry: ModelEntry) -> list[str]:
    """The slots that a model's config has. Raises UserError for a model without any."""
    from bench.models.slots import SLOTS

    present = [slot for slot in SLOTS if slot in entry.defaults]
    if not present:
        raise UserError(f"Expected a model with slots ({', '.join(SLOTS)}), but {entry.name} has none.")
    return present


def listing(
    model: str = "mednext_tiny",
    task: str = "segmentation",
    image_size: int = 128,
    channels: int = 1,
    classes: int = 4,
) -> pd.DataFrame:
    """A row per slot and filling, with the cost of the whole model when that one slot is filled so.

    Columns: `slot`, `filling`, `default` (whether the model has it), `params M`, `GMACs` (one image), `params %` and
    `MACs %` (difference to the model as named), `summary` (first line of the docstring), `note`.

    Raises:
        UserError: an unknown model, one without slots, or a task that it does not do.
    """
    import pandas as pd

    from bench.models.slots import filling_names, filling_note, filling_summary
    from bench.zoo.costs import cost_at

    entry, config = parse_model(model)
    if task not in entry.tasks:
        raise UserError(f"Model {entry.name!r} does {', '.join(entry.tasks)}, but got task {task!r}.")

    def cost(**changed: str) -> Complexity:
        return cost_at(entry, {**config, **changed}, task, channels, classes, image_size)

    slots, base, rows = slots_of(entry), cost(), []
    for slot in slots:
        for name in filling_names(slot):
            default = name == config[slot]
            own = base if default else cost(**{slot: name})
            rows.append(
                {
                    "slot": slot,
                    "filling": name,
                    "default": default,
                    "params M": own.params / 1e6,
                    "GMACs": own.macs / 1e9,
                    "params %": 100 * (own.params / base.params - 1),
                    "MACs %": 100 * (own.macs / base.macs - 1),
                    "summary": filling_summary(slot, name),
                    "note": filling_note(slot, name),
                }
            )
    return pd.DataFrame(rows)
