"""`medbench predict`, `medbench export`: trained networks put to use, here and elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import DATA_ROOT, DEVICE
from bench.cli.terminal import PATH, make_console, wide_option
from bench.errors import UserError

WEIGHTS = click.option(
    "--weights", type=click.Choice(["best-val", "average-best-val"]), help="Whose.  [those that tables show]"
)
TRUST = click.option(
    "--trust", type=PATH, metavar="FILE", help="A third party's network may be run from this file, if it is the run's."
)


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=PATH)
@click.option("--input", "source", required=True, type=PATH, metavar="DIR", help="Folder of images.")
@click.option("--output", required=True, type=PATH, metavar="DIR", help="Where predictions are written.")
@WEIGHTS
@DEVICE
@TRUST
def predict(
    runs: tuple[Path, ...], source: Path, output: Path, weights: str | None, device: str, trust: Path | None
) -> None:
    """Predict a folder of images with a run's network, or with several runs' mean; goes on where it stopped.

    \b
    Example:
      medbench predict results/runs/acdc/unet_s/0-0123456789ab --input IMAGES --output MASKS
    """
    from bench.report.progress import counting
    from bench.runs.predicting import predict_folder
    from bench.runs.trained import load_trained

    members = [load_trained(folder, weights, device, trust) for folder in runs]
    console = make_console()
    with counting(console, "images") as report:
        made, there = predict_folder(members, source, output, report)
    already = f", {there} were there already" if there else ""
    console.print_lines(f"{made} images predicted{already}: {output}")


@click.command()
@click.argument("run", metavar="RUN", type=PATH)
@click.option("--onnx", type=PATH, metavar="FILE", help="As ONNX, for any batch.")
@click.option("--torchscript", type=PATH, metavar="FILE", help="As TorchScript, for any batch.")
@click.option("--state-dict", type=PATH, metavar="FILE", help="As safetensors, the training form's weights.")
@WEIGHTS
@TRUST
@DATA_ROOT
@wide_option
def export(
    run: Path,
    weights: str | None,
    trust: Path | None,
    data_root: str | None,
    wide: bool,
    **files: Path | None,
) -> None:
    """Export a run's network with its pre- and post-processing, checked on its test cases.

    \b
    Example:
      medbench export results/runs/acdc/unet_s/0-0123456789ab --onnx unet_s.onnx
    """
    from bench.report.exports import export_sheet
    from bench.report.sheets import print_sheets
    from bench.runs.exporting import export_run
    from bench.runs.trained import load_trained

    asked = {form.replace("_", "-"): path for form, path in files.items() if path is not None}
    if not asked:
        raise UserError("Expected --onnx FILE, --torchscript FILE or --state-dict FILE, but got none of them.")
    exported = export_run(load_trained(run, weights, trust=trust), asked, data_root)
    print_sheets(make_console(wide), [export_sheet(exported)])
