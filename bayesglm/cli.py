"""The command line: ``bayesglm demo``, ``fit``, ``resume``, ``diagnose``, ``predict``, ``report``.

Compiled programs are kept in the user's cache folder, unless ``JAX_COMPILATION_CACHE_DIR`` names
another or ``BAYESGLM_CACHE=off`` says no.
Errors of the package are one line on standard error and exit code 1; no traceback. With
``--strict`` findings above a note make exit code 3.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from bayesglm import datasets
from bayesglm.caching import cache
from bayesglm.errors import (
    BayesGLMError,
    BayesGLMWarning,
    Finding,
    InferenceError,
    StorageError,
)
from bayesglm.findings import diagnose
from bayesglm.fit import Fit
from bayesglm.frames import read_table
from bayesglm.loading import load
from bayesglm.model import Model
from bayesglm.reporting.document import report
from bayesglm.resuming import resume

__all__ = ["app", "main"]

app = typer.Typer(
    help="Regression for yes/no outcomes, from maximum likelihood to the full posterior.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Data = Annotated[Path, typer.Argument(help="A CSV or Parquet file.", show_default=False)]
Link = Annotated[
    str,
    typer.Option(help="logit, probit, cloglog, loglog, cauchit, log, identity, student_t (robit)."),
]
Prior = Annotated[str, typer.Option(help="weak, flat, rstanarm, bambi or gelman.")]
Seed = Annotated[int, typer.Option(help="Fixes everything random.")]


@app.command()
def fit(
    data: Annotated[
        Path,
        typer.Argument(
            help="A CSV or Parquet file; or a folder or (quoted) pattern of Parquet files, which are "
            "read by blocks.",
            show_default=False,
        ),
    ],
    formula: Annotated[str, typer.Argument(help='For example "y ~ x1 + x2".', show_default=False)],
    link: Link = "logit",
    method: Annotated[str, typer.Option(help="mle, map, laplace, svi, nuts or auto.")] = "mle",
    prior: Prior = "weak",
    out: Annotated[Path | None, typer.Option(help="Save the fit as netCDF here.")] = None,
    family: Annotated[str, typer.Option(help="bernoulli or gaussian.")] = "bernoulli",
    trials: Annotated[str | None, typer.Option(help="Column with the number of trials.")] = None,
    weights: Annotated[str | None, typer.Option(help="Column with weights.")] = None,
    offset: Annotated[str | None, typer.Option(help="Column with an offset.")] = None,
    event: Annotated[str | None, typer.Option(help="The value that counts as 1.")] = None,
    missing: Annotated[str, typer.Option(help="error, or drop.")] = "error",
    cov: Annotated[str | None, typer.Option(help="nonrobust, HC0 to HC3 (mle only).")] = None,
    cluster: Annotated[str | None, typer.Option(help="Column of clusters (mle only).")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A new .npz file to resume from (nuts only).")
    ] = None,
    bias_reduction: Annotated[
        str | None, typer.Option(help="jeffreys or firth (mle only).")
    ] = None,
    ci: Annotated[str | None, typer.Option(help="wald or profile (mle only).")] = None,
    separation: Annotated[
        str | None, typer.Option(help="error, or warn: fit all the same (mle, map).")
    ] = None,
    aliased: Annotated[str | None, typer.Option(help="error, or drop.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 3 where a finding is above a note.")
    ] = False,
    memory: Annotated[
        str | None, typer.Option(help='Of blocks of rows, as "2GB": for Parquet files.')
    ] = None,
    lapse: Annotated[
        bool, typer.Option("--lapse", help="Learn a share of rows with a wrong outcome.")
    ] = False,
    seed: Seed = 0,
) -> None:
    """Fit a model to a CSV or Parquet file and print its table."""
    model = Model(
        formula,
        data,
        family=family,
        link=None if family == "gaussian" else link,
        lapse=lapse,
        prior=prior,
        trials=trials,
        weights=weights,
        offset=offset,
        event=event,
        missing=missing,  # type: ignore[arg-type]  # checked by the model, with our error
        memory=memory,
    )
    given: dict[str, Any] = {
        **{"cov": cov, "cluster": cluster, "checkpoint": checkpoint, "ci": ci},
        **{"bias_reduction": bias_reduction, "separation": separation, "aliased": aliased},
    }
    # An option of another method is refused by name, not dropped.
    options = {name: value for name, value in given.items() if value is not None}
    fitted = model.fit(method, seed=seed, **options)
    _show(fitted, out)
    _judge(fitted.findings, strict)


@app.command(name="diagnose")
def look(
    fit_file: Annotated[Path, typer.Argument(help="A fit saved by `bayesglm fit --out`.")],
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 3 where a finding is above a note.")
    ] = False,
) -> None:
    """Print everything that a reader of a fit should know."""
    found = diagnose(load(fit_file))
    typer.echo("\n".join(map(str, found)) or "nothing found")
    _judge(found, strict)


def _judge(findings: Iterable[Finding], strict: bool) -> None:
    if strict and any(finding.severity != "note" for finding in findings):
        raise typer.Exit(3)


@app.command(name="resume")
def go_on(
    checkpoint: Annotated[Path, typer.Argument(help="Written by `bayesglm fit --checkpoint`.")],
    out: Annotated[Path | None, typer.Option(help="Save the fit as netCDF here.")] = None,
) -> None:
    """Go on with a run that was stopped, and print its table."""
    _show(resume(checkpoint), out)


def _show(fitted: Fit, out: Path | None) -> None:
    typer.echo(str(fitted))
    if out is not None:
        fitted.save(out)
        typer.echo(f"\nsaved to {out}")


@app.command()
def predict(
    fit_file: Annotated[Path, typer.Argument(help="A fit saved by `bayesglm fit --out`.")],
    data: Data,
    out: Annotated[Path | None, typer.Option(help="Write CSV here instead of the screen.")] = None,
    level: Annotated[float, typer.Option(help="Mass of the interval of draws.")] = 0.95,
    groups: Annotated[
        str, typer.Option(help="Whose effects count: all, none, or names with commas between.")
    ] = "all",
    new_groups: Annotated[
        str, typer.Option(help="Groups that the fit does not know: error, sample or zero.")
    ] = "error",
) -> None:
    """Predict the probability of the event for new rows; writes CSV."""
    fitted = load(fit_file)
    frame = read_table(data)
    which: Any = {"all": "all", "none": None}.get(groups, groups.split(","))
    estimate, lower, upper = fitted.predict_interval(
        frame,
        level,
        groups=which,
        new_groups=new_groups,  # type: ignore[arg-type]  # checked there, with our error
    )
    frame["estimate"], frame["lower"], frame["upper"] = estimate, lower, upper
    text = frame.to_csv(out, index=False)
    if out is None:
        typer.echo(text, nl=False)


@app.command(name="report")
def write_report(
    fit_files: Annotated[
        list[Path], typer.Argument(help="Fits saved by `bayesglm fit --out`: one, or several.")
    ],
    out: Annotated[Path | None, typer.Option(help="The HTML file; the first fit's name.")] = None,
    title: Annotated[str | None, typer.Option(help="The heading.")] = None,
    level: Annotated[float, typer.Option(help="Coverage of intervals.")] = 0.95,
) -> None:
    """Write a self-contained HTML report of a saved fit, or of several of the same outcome."""
    names = [path.stem for path in fit_files]
    keys = names if len(set(names)) == len(names) else [str(path) for path in fit_files]
    fits = {key: load(path) for key, path in zip(keys, fit_files, strict=True)}
    target = out or fit_files[0].with_suffix(".html")
    written = report(fits if len(fits) > 1 else fits[keys[0]], target, title=title, level=level)
    typer.echo(f"the report is in {written}")


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="Your own CSV or Parquet file.")] = None,
    formula: Annotated[str | None, typer.Option(help="Your own formula.")] = None,
    link: Link = "logit",
    prior: Prior = "weak",
    out: Annotated[Path | None, typer.Option(help="Where the DataTree goes.")] = None,
    seed: Seed = 1,
) -> None:
    """Fit one model by MLE, MAP, Laplace and NUTS, side by side; the Challenger data unless told."""
    if (data is None) != (formula is None):
        raise typer.BadParameter("--data and --formula go together")
    own = data is not None and formula is not None
    frame = read_table(data) if own and data is not None else datasets.challenger()
    model = Model(formula or "damage ~ temperature", frame, link=link, prior=prior)
    typer.echo(f"{model!r}\n\n{model.priors!r}\n")
    fits: dict[str, Fit] = {}
    for method in ("mle", "map", "laplace", "nuts"):
        try:
            fits[method] = model.fit(method, seed=seed)
        except InferenceError as error:
            # Separated data have no MLE; the other methods answer.
            if method == "nuts":
                raise
            typer.echo(f"{method}: {error}\n", err=True)
    _print_side_by_side(fits)
    if own:
        _print_probability(fits, model.frame.iloc[:1], "P(event) of the first row")
    else:
        _print_probability(fits, {"temperature": [31.0]}, "P(damage at 31 °F)")
    target = out or Path("fit.nc" if own else "challenger.nc")
    fits["nuts"].save(target)
    typer.echo(f'\nThe posterior is in {target}: arviz.from_netcdf("{target}")')


def _print_side_by_side(fits: dict[str, Fit]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    # Without lines between the columns four methods fit on a narrow terminal.
    table = Table(
        title="Estimates on the link scale (standard error, or posterior sd)",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("term")
    for method in fits:
        table.add_column(method, justify="right")
    tables = {method: fitted.summary() for method, fitted in fits.items()}
    for term in fits["nuts"].terms:
        rows = (tables[method].loc[term] for method in fits)
        table.add_row(term, *(f"{row.estimate:.3g} ({row.std_error:.2g})" for row in rows))
    table.add_section()
    table.add_row("seconds", *(f"{fitted.seconds:.2f}" for fitted in fits.values()))
    Console().print(table)


def _print_probability(fits: dict[str, Fit], newdata: Any, title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for name in ("method", "estimate", "lower", "upper"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for method, fitted in fits.items():
        estimate, lower, upper = fitted.predict_interval(newdata)
        table.add_row(method, *(f"{value[0]:.3f}" for value in (estimate, lower, upper)))
    Console().print(table)


def _cache() -> None:
    """Keep compiled programs for the next call of the command line."""
    if os.environ.get("BAYESGLM_CACHE") == "off" or os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    try:
        cache()
    except StorageError:
        # A home that cannot be written to is no reason not to fit.
        return


def main() -> None:
    """Run the command line; turn the package's errors into one line and exit code 1."""
    with warnings.catch_warnings():
        # The findings stand under the printed table already.
        warnings.simplefilter("ignore", BayesGLMWarning)
        _cache()
        try:
            app()
        except BayesGLMError as error:
            typer.echo(f"bayesglm: {error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            typer.echo("bayesglm: interrupted", err=True)
            sys.exit(130)
