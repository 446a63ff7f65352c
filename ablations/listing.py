"""What may stand in each slot of a model, and what the whole model then costs."""

from __future__ import annotations

import pandas as pd

from ablations.plans import slots_of
from bench.errors import UserError
from bench.models.slots import filling_names, filling_note, filling_summary
from bench.zoo.complexity import Complexity
from bench.zoo.costs import cost_at
from bench.zoo.registry import parse_model


def listing(
    model: str = "mednext_tiny",
    task: str = "segmentation",
    channels: int = 1,
    classes: int = 4,
    image_size: int = 128,
) -> pd.DataFrame:
    """A row per slot and filling, with the cost of the whole model when that one slot is filled so.

    Columns: `slot`, `filling`, `default` (whether the model has it), `params M`, `GMACs` (one image), `params %` and
    `MACs %` (difference to the model as named), `summary` (first line of the docstring), `note`.

    Raises:
        UserError: an unknown model, one without slots, or a task that it does not do.
    """
    entry, config = parse_model(model)
    if task not in entry.tasks:
        raise UserError(f"Model {entry.name!r} does {', '.join(entry.tasks)}, but got task {task!r}.")

    def cost(**changed: str) -> Complexity:
        try:
            return cost_at(entry, {**config, **changed}, task, channels, classes, image_size)
        except UserError:
            raise
        except Exception as error:  # of a filling's own code
            line = f"{type(error).__name__}: {error}".splitlines()[0]
            raise UserError(f"{model} does not run with {changed or 'its own config'}: {line}") from error

    slots, base, rows = slots_of(entry), cost(), []
    for slot in slots:
        for name in filling_names(slot):
            default = name == config[slot]
            changed = base if default else cost(**{slot: name})
            rows.append(
                {
                    "slot": slot,
                    "filling": name,
                    "default": default,
                    "params M": changed.params / 1e6,
                    "GMACs": changed.macs / 1e9,
                    "params %": 100 * (changed.params / base.params - 1),
                    "MACs %": 100 * (changed.macs / base.macs - 1),
                    "summary": filling_summary(slot, name),
                    "note": filling_note(slot, name),
                }
            )
    return pd.DataFrame(rows)
