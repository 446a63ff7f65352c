"""The `medbench` command: a module per command, which parses, calls and renders; heavy imports are inside."""

from __future__ import annotations

import click

from bench.cli.ablate import ablate
from bench.cli.budget import budget
from bench.cli.data import data
from bench.cli.develop import develop
from bench.cli.doctor import doctor
from bench.cli.evaluate import evaluate
from bench.cli.models import models
from bench.cli.predict import export, predict
from bench.cli.profile import profile
from bench.cli.report import report
from bench.cli.reproduce import reproduce
from bench.cli.results import results
from bench.cli.run import plan, run
from bench.cli.show import show
from bench.cli.terminal import Group


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="medbench")
def main() -> None:
    """Benchmark and take apart 2-D medical image models under one protocol.

    \b
    Example:
      medbench run --models all --dataset acdc --preset smoke --data phantom
    """


for command in (
    run,
    plan,
    budget,
    develop,
    report,
    models,
    profile,
    data,
    ablate,
    evaluate,
    doctor,
    reproduce,
    results,
    show,
    predict,
    export,
):
    main.add_command(command)

if __name__ == "__main__":
    main()
