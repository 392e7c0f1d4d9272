"""The command line: few verbs; everything else is a recipe's setting. Heavy imports wait until a verb needs them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from medaegis._errors import MedaegisError
from medaegis._version import __version__

FLAGGED = 3
"""Exit code of `medaegis detect score` and `aegis check` where an image is flagged or rejected; 2 is every error's."""


class _Group(click.Group):
    """A group that prints our own errors as one text, and a stop as a hint that the same command goes on."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MedaegisError as error:
            click.secho("error: ", fg="red", bold=True, nl=False, err=True)
            click.echo(str(error), err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo("\nStopped. What was finished is kept: the same command goes on from there.", err=True)
            sys.exit(130)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="medaegis")
def main() -> None:
    """How far can an attacker get with a medical-image classifier, and would its detectors notice?

    Start with `medaegis demo`. Everything runs on models and data that you own.
    """


def _all_of(*options: Any) -> Any:
    """One decorator from several, in the order in which --help shows them."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_device_options = _all_of(
    click.option("--device", default=None, help="cpu or cuda. Default: cuda where there is one."),
    click.option("--quiet", is_flag=True, help="No progress bars."),
)
_machine_options = _all_of(
    click.option("--batch-size", default=32, type=click.IntRange(min=1), show_default=True, help="Changes speed only."),
    _device_options,
)
_run_options = _all_of(
    click.option("--out", type=click.Path(file_okay=False), help="Folder of the run. Default: runs/RECIPE."),
    click.option("--tiny", is_flag=True, help="The recipe's small version, for a first look."),
    click.option(
        "--scale", type=click.Choice(["small", "paper"]), default="small", help="paper: ResNet-50 at 256 px …"
    ),
    click.option("--set", "changes", multiple=True, metavar="KEY=VALUE ...", help="Change settings."),
    click.argument("more", nargs=-1, metavar=""),
    _device_options,
)
_network_options = _all_of(
    click.option("--model", required=True, help="package.module:factory of your network, or a torchvision name."),
    click.option("--weights", type=click.Path(dir_okay=False), help="State dict of the network, .pth or .safetensors."),
    click.option(
        "--data", required=True, help="Folder of images by class, or phantom-chest, phantom-fundus, phantom-brain."
    ),
)
_image_options = _all_of(
    click.option("--size", help="Height and width of the images. Default: 256."),
    click.option("--channels", type=int, help="3 or 1. Default: 3, or 1 of volumes."),
    click.option("--depth", help="Read volumes, as so many slices (attack only)."),
    click.option(
        "--window", metavar="CENTRE,WIDTH", help="Of DICOM and NIfTI files, as in 40,80. Default: the file's."
    ),
    click.option(
        "--source", help="Layout of the folder: volumes, kermany, aptos, graded, folder, npz. Default: recognised."
    ),
    click.option("--labels", help="binary or grades, for aptos and graded. Default: binary."),
    click.option("--limit", help="Most images a class."),
)


_fitted_network_options = _all_of(
    click.option("--model", help="As in fit; needed for package.module:factory. Default: the one of the fit."),
    click.option("--weights", type=click.Path(dir_okay=False), help="As in fit. Default: the file of the fit."),
)
_judging_options = _all_of(
    click.option(
        "--skip-unreadable", is_flag=True, help="List files that are no image in the CSV, in place of an error."
    ),
    _machine_options,
)


@main.command()
@click.argument("recipe")
@click.option("--data", type=click.Path(), help="Folder of images, for recipes that need one.")
@click.option("--model", help="torchvision name or package.module:factory of your own network.")
@_run_options
def run(recipe: str, data: str | None, model: str | None, **options: Any) -> None:
    """Run RECIPE, or finish it if it was stopped; leaves table.csv, cases.parquet, manifest.json and report.html.

    Several recipes, or `all` for every table and figure of the papers, share what they have in common; --out is then
    the folder of their folders.
    """
    _run((recipe,), data, model, **options)


@main.command()
@_network_options
@click.option("--attack", required=True, help="fgsm, bim, pgd, mim, tim, dim, cw_linf, pgd_l2, apgd, noise …")
@click.option("--eps", help="Budget in pixel units, as in 1/256.")
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Folder of the run.")
@click.option("--steps", help="Gradient steps. Default: the preset's own.")
@click.option("--target", help="next (class), none (any wrong class), or a class. Default: next.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE ...", help="Other settings of the attack.")
@click.argument("more", nargs=-1, metavar="")
@_image_options
@click.option("--checks", help="Cases of the checks of the attack's strength, 0 for none. Default: 16.")
@click.option("--substitute", help="package.module:factory of a network for the check against transfer.")
@click.option("--seed", help="Of random starts. Default: 0.")
@_machine_options
def attack(
    out: str,
    steps: str | None,
    changes: tuple[str, ...],
    more: tuple[str, ...],
    batch_size: int,
    device: str | None,
    quiet: bool,
    **given: str | int | None,
) -> None:
    """Attack the images that your network classifies correctly; leaves the images, a table and report.html in OUT.

    Stopped runs go on where they were: give the same command again.
    """
    from medaegis._cli_recipes import finished_lines
    from medaegis.experiment import parse_changes, run_attack_command

    options = parse_changes(changes + more) | ({} if steps is None else {"steps": steps})
    settings = _given(given) | {"options": options}
    with _working(device, quiet) as (where, show):
        done = run_attack_command(settings, out=out, device=where, batch_size=batch_size, progress=show, say=_say)
    for line in finished_lines(done):
        click.echo(line)


@main.group()
def detect() -> None:
    """Fit detectors to your own network and images, save them, and score new images."""


@detect.command()
@_network_options
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Folder of the detectors.")
@click.option("--detectors", help="KD, MAHA, LID, BU, HFC …, LID:logistic, with commas. Default: KD,MAHA,LID.")
@click.option("--attack", help="bim, pgd …: what detectors such as SVM, DNN and LID:logistic learn from.")
@click.option("--eps", help="Budget of the attack in pixel units, as in 1/256.")
@click.option("--steps", help="Gradient steps of the attack. Default: the preset's own.")
@click.option("--tnr", help="Share of clean images that each detector lets pass. Default: 0.9.")
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE ...", help="Attack's settings, or LID.neighbours=10."
)
@click.argument("more", nargs=-1, metavar="")
@_image_options
@click.option("--seed", help="Of the parts, random starts and noise. Default: 0.")
@_machine_options
def fit(
    out: str,
    detectors: str | None,
    steps: str | None,
    changes: tuple[str, ...],
    more: tuple[str, ...],
    batch_size: int,
    device: str | None,
    quiet: bool,
    **given: str | int | None,
) -> None:
    """Fit detectors on the images that your network classifies correctly, and set their thresholds.

    Leaves a file for each detector and detectors.json in OUT. Stopped runs go on where they were: give the same
    command again.
    """
    from medaegis.experiment import parse_changes, run_detect_fit

    options = parse_changes(changes + more) | ({} if steps is None else {"steps": steps})
    named = {} if detectors is None else {"detectors": [name.strip() for name in detectors.split(",")]}
    settings = _given(given) | {"options": options} | named
    with _working(device, quiet) as (where, show):
        done = run_detect_fit(settings, out=out, device=where, batch_size=batch_size, progress=show, say=_say)
    click.echo(f"{done.computed} stages computed, {done.found} found in the store.")
    for entry in done.facts["detectors"]:
        click.echo(f"{entry['name']:<12} threshold {entry['threshold']:.6g}")
    for part, counts in done.facts["parts"].items():
        click.echo(f"{part:<12} n = {sum(counts.values())}")
    click.echo(f"Any of them flags {100 * done.facts['flagged_by_any']:.1f} % of the calibration images.")
    click.echo(f"Detectors: {done.out / 'detectors.json'}")


@detect.command()
@click.option("--detectors", required=True, type=click.Path(file_okay=False), help="Folder of `detect fit`.")
@click.option(
    "--data", required=True, multiple=True, help="Folder of images, by class or not, or an image; repeatable."
)
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="CSV, one row an image.")
@_fitted_network_options
@click.option("--any", "any_", is_flag=True, help="An image is flagged if any detector flags it: the default.")
@click.option("--by", metavar="NAME", help="An image is flagged if this detector flags it.")
@_judging_options
def score(
    detectors: str,
    data: tuple[str, ...],
    out: str,
    any_: bool,
    by: str | None,
    device: str | None,
    quiet: bool,
    **given: Any,
) -> None:
    """Score images with fitted detectors; the exit code says whether one is flagged.

    Exit code 0: no image is flagged. 3: at least one is. 2: an error, and no table was written. Files left out with
    --skip-unreadable do not count.
    """
    from medaegis.experiment import run_detect_score

    if any_ and by is not None:
        raise MedaegisError("`--any` and `--by` exclude each other: give one of them.")
    with _working(device, quiet) as (where, show):
        done = run_detect_score(
            detectors, data, out=out, by=by or "any", device=where, progress=show, say=_say, **given
        )
    click.echo(f"{done.n} images scored, {done.flagged} flagged by {by or 'any detector'}.")
    for name, count in done.by.items():
        click.echo(f"{name:<12} flags {count}")
    if done.unreadable:
        click.echo(f"{done.unreadable} files are no image and were not scored.")
    click.echo(f"Table: {done.out}")
    if done.flagged:
        sys.exit(FLAGGED)


@main.group()
def aegis() -> None:
    """Fit a guard around your own network: Cushion, Shields and thresholds; and check new images with it."""


@aegis.command("fit")
@_network_options
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Folder of the guard.")
@click.option("--cushion", help="jpeg:80, bits:3, tv:0.03, joined by +, or none. Default: jpeg:80.")
@click.option("--training", help="hardened, varied or paper: what the Shields learn from. Default: hardened.")
@click.option("--epochs", help="Most epochs. Default: 25.")
@click.option("--tnr", help="Share of clean images of each class that is accepted. Default: 0.9.")
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE ...", help="Training's other settings, as last_eps=8/256."
)
@click.argument("more", nargs=-1, metavar="")
@_image_options
@click.option("--seed", help="Of parts, weights and attacks. Default: 0.")
@_machine_options
def aegis_fit(
    out: str,
    changes: tuple[str, ...],
    more: tuple[str, ...],
    batch_size: int,
    device: str | None,
    quiet: bool,
    **given: str | int | None,
) -> None:
    """Train Shields on the images that your network classifies correctly behind the Cushion, and set thresholds.

    Leaves guard.safetensors in OUT. Stopped runs go on where they were: give the same command again.
    """
    from medaegis.defend._shield_probe import GOOD
    from medaegis.experiment import parse_changes, run_aegis_fit

    settings = parse_changes(changes + more) | _given(given)
    with _working(device, quiet) as (where, show):
        done = run_aegis_fit(settings, out=out, device=where, batch_size=batch_size, progress=show, say=_say)
    click.echo(f"{done.computed} stages computed, {done.found} found in the store.")
    facts = done.guard.facts
    for name, threshold in zip(facts.class_names, done.guard.thresholds.tolist(), strict=True):
        click.echo(f"{name:<12} threshold {-threshold:.6g}")
    for part, counts in facts.counts.items():
        click.echo(f"{part:<12} n = {sum(counts.values())}")
    best = max(entry["validation_auc"] for entry in facts.history)
    click.echo(f"Validation AUC, the worst over Shields and training attacks: {best:.3f} in the best epoch.")
    if facts.probe_auc is not None:
        click.echo(f"Against attacks of 40 steps that they did not learn from: {facts.probe_auc:.3f}.")
    worst = min(best, 1.0 if facts.probe_auc is None else facts.probe_auc)
    if worst < GOOD:
        click.echo(
            f"warning: this guard does not hold: attacks leave an AUC of {worst:.3f}, where 1 tells all "
            "from clean images and 0.5 is guessing. Train longer (--epochs, and --set then_epochs=16 for hardened) or "
            "on more images.",
            err=True,
        )
    click.echo(f"Guard: {done.path}, SHA-256 {done.sha256}")


@aegis.command("check")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--guard", required=True, type=click.Path(), help="File or folder of `aegis fit`.")
@click.option("--out", type=click.Path(dir_okay=False), help="CSV, one row an image. Default: the terminal.")
@_fitted_network_options
@click.option("--sha256", help="What fit printed: another guard is refused.")
@_judging_options
def aegis_check(images: tuple[str, ...], device: str | None, quiet: bool, **given: Any) -> None:
    """Check images, or folders of them, with a guard; the exit code says whether one is rejected.

    Exit code 0: all images are accepted. 3: at least one is not. 2: an error, and no table was written. Files left out
    with --skip-unreadable do not count.
    """
    from medaegis.experiment import run_aegis_check

    with _working(device, quiet) as (where, show):
        done = run_aegis_check(images=images, device=where, progress=show, say=_say, **given)
    if given["out"] is None:
        click.echo(done.table, nl=False)
    _say(f"{done.n} images checked, {done.rejected} rejected.")
    if done.unreadable:
        _say(f"{done.unreadable} files are no image and were not checked.")
    if done.rejected:
        sys.exit(FLAGGED)


@main.command()
@_run_options
def demo(**options: Any) -> None:
    """The whole story on synthetic images: the same as `medaegis run demo`."""
    _run(("demo",), None, None, **options)


def _run(
    names: tuple[str, ...], data: str | None, model: str | None, *, device: str | None, quiet: bool, **options: Any
) -> None:
    from medaegis._cli_recipes import run_named

    with _working(device, quiet) as (where, show):
        good = run_named(names, data, model, device=where, progress=show, say=_say, **options)
    if not good:
        sys.exit(2)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were named; the others keep their settings' defaults."""
    return {name: value for name, value in options.items() if value is not None}


@contextmanager
def _working(device: str | None, quiet: bool) -> Generator[tuple[str, bool]]:
    """The device, and whether to show bars; warnings become lines of our own."""
    with warnings.catch_warnings():
        warnings.showwarning = _print_warning
        yield _device(device), sys.stderr.isatty() and not quiet


def _say(line: str) -> None:
    click.echo(line, err=True)


def _print_warning(message: Warning | str, *_rest: Any, **_named: Any) -> None:
    click.echo(f"warning: {message}", err=True)


def _device(name: str | None) -> str:
    """The device to compute on; on a CPU, no more threads than this process has cores."""
    import torch

    from medaegis._threads import use_sensible_threads

    use_sensible_threads()
    available = torch.cuda.is_available()
    if name is not None and name.startswith("cuda") and not available:
        raise MedaegisError(
            "`--device cuda` needs a CUDA device, and torch finds none. Leave it out to run on the CPU."
        )
    if name is not None and not name.startswith("cuda") and name != "cpu":
        raise MedaegisError(f"`--device` must be cpu or cuda, got {name!r}.")
    return name or ("cuda" if available else "cpu")


@main.command("list")
@click.option("--settings", "name", metavar="RECIPE", help="Show the settings of one recipe.")
def list_(name: str | None) -> None:
    """List the papers' tables and figures and the recipes by subject, or the settings of one."""
    from medaegis._cli_recipes import listed, settings_of

    for line in listed() if name is None else settings_of(name):
        click.echo(line)


@main.command()
@click.argument("run_folder", type=click.Path(file_okay=False))
@click.option(
    "--keep", type=click.Path(file_okay=False), help="Copy tables and manifest there, without cases and images."
)
def report(run_folder: str, keep: str | None) -> None:
    """Draw the report of RUN_FOLDER again, from its stored results, and write its table.tex and table.md.

    Of a folder that holds runs, write index.html, and the reports that are missing. With --keep, draw nothing.
    """
    from medaegis.report import is_run, keep_run, render_index, render_report

    folder = Path(run_folder)
    if keep is not None:
        click.echo(f"Kept: {keep_run(folder, Path(keep))}")
    elif is_run(folder) or (folder / "manifest.json").is_file():
        click.echo(f"Report: {render_report(folder)}")
    else:
        click.echo(f"Index: {render_index(folder)}")


@main.command()
def doctor() -> None:
    """Versions, device, threads, data that is found, and a short self-test."""
    from medaegis._doctor import examine

    healthy = True
    for finding in examine():
        healthy &= finding.good
        click.echo(f"{'ok  ' if finding.good else 'BAD '} {finding.name:<16} {finding.text}")
    if not healthy:
        sys.exit(1)


if __name__ == "__main__":
    main()
