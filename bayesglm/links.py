"""The links by name: those of the package, with a fixed shape or one that is learned.

>>> get_link("probit").eta(0.975).round(4)
np.float64(1.96)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np

from bayesglm import link_functions as functions
from bayesglm import link_quantiles as quantiles
from bayesglm.errors import SpecificationError, explain, suggest
from bayesglm.link import Core, Function, Link
from bayesglm.shaped import ShapedLink

__all__ = ["LINKS", "Link", "get_link", "student_t"]

# Of the link that stands for Student's t where its df is learned and a number is needed before:
# the middle of the default prior of df is 17.
REFERENCE = 17.0


def student_t(df: float) -> Link:
    """Return the robit link: F is Student's t distribution with ``df`` degrees of freedom.

    Parameters
    ----------
    df : float
        Degrees of freedom, at least 0.01; 1 is cauchit, infinity would be probit.

    Raises
    ------
    SpecificationError
        If ``df`` is not such a number.

    References
    ----------
    Liu (2004), "Robit regression"; df = 7 is close to logit up to scale.

    Examples
    --------
    >>> student_t(4).label, student_t(4) == student_t(4.0)
    ('student_t(df=4)', True)
    """
    number = isinstance(df, (int, float, np.number)) and not isinstance(df, bool)
    if not number or not 0.01 <= df <= 1e12:
        raise SpecificationError(
            explain("df must be a number from 0.01 to 1e12", df=df, advice="probit is df = inf")
        )
    return _student_t(float(df))


def _df(text: str) -> Any:
    """Return text as a number; text that is none stays, for `student_t` to refuse."""
    try:
        return float(text)
    except ValueError:
        return text


@lru_cache(maxsize=256)
def _student_t(df: float) -> Link:
    return Link(
        "student_t",
        parameters=(("df", df),),
        core=partial(functions.student_t, df=df),
        psi_slope=partial(functions.student_t_psi_slope, df=df),
        quantile=partial(quantiles.student_t, df),
    )


def _own(
    name: str,
    core: Core,
    psi_slope: Function,
    quantile: Callable[[Any], Any],
    domain: tuple[float, float] = (-np.inf, np.inf),
) -> Link:
    return Link(name, domain=domain, quantile=quantile, core=core, psi_slope=psi_slope)


LINKS: dict[str, Link] = {
    link.name: link
    for link in (
        _own("logit", functions.logit, functions.logit_psi_slope, quantiles.logit),
        _own("probit", functions.probit, functions.probit_psi_slope, quantiles.probit),
        _own("cloglog", functions.cloglog, functions.cloglog_psi_slope, quantiles.cloglog),
        _own("loglog", functions.loglog, functions.loglog_psi_slope, quantiles.loglog),
        _own("cauchit", functions.cauchit, functions.cauchit_psi_slope, quantiles.cauchit),
        _own("log", functions.log, functions.zero_psi_slope, np.log, (-np.inf, 0.0)),
        _own(
            "identity", functions.identity, functions.zero_psi_slope, quantiles.identity, (0.0, 1.0)
        ),
    )
}

# Its degrees of freedom are learned.
ROBIT = ShapedLink("student_t", base=student_t(REFERENCE), learned=("df",))


def get_link(link: str | Link) -> Link:
    """Return a link by its name, or as it is.

    Parameters
    ----------
    link : str or Link
        A name of ``LINKS``, ``"student_t(7)"``, ``"student_t"`` (its df is learned), or a link.

    Raises
    ------
    SpecificationError
        For an unknown name.

    Examples
    --------
    >>> get_link("student_t(7)").parameters
    (('df', 7.0),)
    """
    if isinstance(link, Link):
        return link
    if isinstance(link, str):
        shaped = re.fullmatch(r"student_t\(\s*(?:df\s*=\s*)?([-+.\w]+)\s*\)", link.strip())
        if shaped:
            return student_t(_df(shaped[1]))
        if link in LINKS:
            return LINKS[link]
        if link == "student_t":
            return ROBIT
    raise SpecificationError(
        explain(
            f"unknown link{suggest(link, [*LINKS, 'student_t'])}",
            link=link,
            advice=f"use one of {', '.join(LINKS)}, student_t, student_t(4), or a Link",
        )
    )
