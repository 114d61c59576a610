"""The report: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from bayesglm.errors import SpecificationError, StorageError, explain
from bayesglm.files import replacing
from bayesglm.fit import Fit
from bayesglm.progress import bar
from bayesglm.reporting import (
    answers,
    checks,
    data,
    diagnostics,
    estimates,
    opening,
    predictive,
    provenance,
    question,
)
from bayesglm.reporting.blocks import Material, Section
from bayesglm.reporting.words import formula_of
from bayesglm.tables import check_level

__all__ = ["report"]

# Which fit answers where one has to.
BEST = ("nuts", "laplace", "svi", "map", "mle")
# Rows times draws of what is read row by row, and the fewest draws that are kept for it.
PAIRS, FEWEST = 20_000_000, 200
SECTIONS: tuple[Callable[[Material], Section | None], ...] = (
    opening.section,
    question.section,
    data.section,
    question.prior_section,
    estimates.section,
    answers.section,
    checks.section,
    predictive.section,
    diagnostics.section,
    provenance.section,
)


def report(
    fits: Fit | Mapping[str, Fit],
    path: Any,
    *,
    title: str | None = None,
    level: float = 0.95,
    progress: bool | None = None,
) -> Path:
    """Write a report of a fit, or of several of the same outcome, as one HTML file.

    It has everything in itself (pictures, style) and asks no network when it is opened: findings
    first, then the model in words, the data, the priors and what they imply, estimates, effects on
    the probability scale, checks, scores, diagnostics, and the code that makes it again.

    Parameters
    ----------
    fits : Fit or dict of str to Fit
        Of several, coefficients, effects and scores stand side by side; where one has to answer it
        is the one with draws.
    path : str or Path
        Where to; written whole or not at all.
    title : str, optional
        Made of the outcome if absent.
    level : float
        Coverage of intervals.
    progress : bool, optional
        Show a progress bar; by default on a terminal and in a notebook.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    SpecificationError
        If ``fits`` are none, or have different outcomes.
    StorageError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import bayesglm as bg
    >>> fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("mle")
    >>> path = bg.report(fit, f"{tempfile.mkdtemp()}/challenger.html")
    >>> path.name
    'challenger.html'
    """
    named = {fits.method: fits} if isinstance(fits, Fit) else fits
    if (
        not isinstance(named, Mapping)
        or not named
        or not all(isinstance(fit, Fit) for fit in named.values())
    ):
        raise SpecificationError(
            explain("a report is of a Fit, or of a dict of some", fits=type(fits).__name__)
        )
    events = {str(fit.design.outcome) for fit in named.values()}
    if len(events) > 1:
        raise SpecificationError(
            explain("the fits have different outcomes", outcomes=sorted(events))
        )
    main = min(named, key=lambda name: BEST.index(named[name].method))
    fits = {str(name): fit for name, fit in named.items()}
    light = {name: _thinned(fit) for name, fit in fits.items()}
    material = Material(fits, str(main), check_level(level), light)
    sections = []
    with bar("report", len(SECTIONS), progress=progress) as update:
        for done, make in enumerate(SECTIONS, 1):
            sections.append(make(material))
            if update is not None:
                update(done, 0)
    page = _page(material, [s for s in sections if s is not None], title)
    target = Path(path)
    try:
        with replacing(target) as part:
            part.write_text(page, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            explain(f"the report cannot be written: {error.strerror}", path=str(target))
        ) from error
    return target


def _thinned(fit: Fit) -> Fit:
    """Return a fit with so many draws that rows times draws stay within bounds."""
    if not fit.result.draws:
        return fit
    chains, draws = next(iter(fit.result.draws.values())).shape[:2]
    kept = int(np.clip(PAIRS / (chains * max(fit.design.n, 1)), FEWEST / chains, draws))
    if kept >= draws:
        return fit
    some = np.unique(np.linspace(0, draws - 1, kept).astype(int))
    flat = fit.result.flat_draws
    result = replace(
        fit.result,
        draws={name: values[:, some] for name, values in fit.result.draws.items()},
        flat_draws=None if flat is None else flat[:, some],
    )
    return replace(fit, result=result, extra={})


def _page(material: Material, sections: list[Section], title: str | None) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    fit = material.fit
    return environment.get_template("page.html.j2").render(
        title=title or f"What “{fit.design.outcome}” depends on",
        formula=formula_of(fit),
        sections=sections,
        # Our own files and drawings, in which text is escaped already.
        style=Markup((folder / "page.css").read_text(encoding="utf-8")),
        markup=Markup,
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
    )
