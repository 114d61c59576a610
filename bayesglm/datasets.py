"""Small published tables of yes/no outcomes, and simulated data with a known truth.

Every function returns a fresh pandas DataFrame; nothing is downloaded or read from disk.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from bayesglm.errors import DataError, SpecificationError, explain
from bayesglm.links import get_link
from bayesglm.precision import scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from bayesglm.link import Link

__all__ = ["bioassay", "cbpp", "challenger", "simulate", "spector", "titanic", "ucb_admissions"]


def challenger() -> pd.DataFrame:
    """Return the 23 shuttle launches before Challenger whose boosters were recovered.

    On the morning of 28 January 1986 it was 31 °F; the question is what these launches say about
    that temperature. The fourth launch is not among them: its boosters were lost at sea.

    Returns
    -------
    pandas.DataFrame
        23 rows in the order of flight: ``flight`` (text), ``temperature`` of the joint at launch
        (°F) and ``damage`` (1 if any O-ring of the field joints showed erosion or blow-by, else 0).

    References
    ----------
    .. [1] Presidential Commission on the Space Shuttle Challenger Accident (1986). Report to the
       President, volume 1, chapter 6.
    .. [2] Dalal, S. R., Fowlkes, E. B. and Hoadley, B. (1989). Risk analysis of the space shuttle:
       pre-Challenger prediction of failure. Journal of the American Statistical Association,
       84(408), 945-957, table 1.

    Examples
    --------
    >>> launches = challenger()
    >>> launches[launches["damage"] == 1]["temperature"].tolist()
    [70, 57, 63, 70, 53, 75, 58]
    """
    import pandas as pd

    rows = [
        ("1", 66, 0),
        ("2", 70, 1),
        ("3", 69, 0),
        ("5", 68, 0),
        ("6", 67, 0),
        ("7", 72, 0),
        ("8", 73, 0),
        ("9", 70, 0),
        ("41-B", 57, 1),
        ("41-C", 63, 1),
        ("41-D", 70, 1),
        ("41-G", 78, 0),
        ("51-A", 67, 0),
        ("51-C", 53, 1),
        ("51-D", 67, 0),
        ("51-B", 75, 0),
        ("51-G", 70, 0),
        ("51-F", 81, 0),
        ("51-I", 76, 0),
        ("51-J", 79, 0),
        ("61-A", 75, 1),
        ("61-B", 76, 0),
        ("61-C", 58, 1),
    ]
    return pd.DataFrame(rows, columns=["flight", "temperature", "damage"])


def titanic() -> pd.DataFrame:
    """Return the 2,201 people on board the Titanic, counted by class, sex and age.

    Returns
    -------
    pandas.DataFrame
        14 rows, one per group that had any members: ``pclass`` (``"1st"``, ``"2nd"``, ``"3rd"``,
        ``"Crew"``), ``sex``, ``age`` (``"Child"``, ``"Adult"``), ``survived`` (people) and
        ``total`` (people). ``class`` is a word of Python and could not stand inside ``C()``.

    References
    ----------
    .. [1] Board of Trade (1990). Report on the loss of the 'Titanic' (S.S.) (reprint of 1912).
       Gloucester: Alan Sutton.
    .. [2] Dawson, R. J. M. (1995). The 'unusual episode' data revisited. Journal of Statistics
       Education, 3(3).

    Examples
    --------
    >>> people = titanic()
    >>> int(people["survived"].sum()), int(people["total"].sum())
    (711, 2201)
    """
    import pandas as pd

    rows = [
        ("1st", "Male", "Child", 5, 5),
        ("1st", "Male", "Adult", 57, 175),
        ("1st", "Female", "Child", 1, 1),
        ("1st", "Female", "Adult", 140, 144),
        ("2nd", "Male", "Child", 11, 11),
        ("2nd", "Male", "Adult", 14, 168),
        ("2nd", "Female", "Child", 13, 13),
        ("2nd", "Female", "Adult", 80, 93),
        ("3rd", "Male", "Child", 13, 48),
        ("3rd", "Male", "Adult", 75, 462),
        ("3rd", "Female", "Child", 14, 31),
        ("3rd", "Female", "Adult", 76, 165),
        ("Crew", "Male", "Adult", 192, 862),
        ("Crew", "Female", "Adult", 20, 23),
    ]
    return pd.DataFrame(rows, columns=["pclass", "sex", "age", "survived", "total"])


def ucb_admissions() -> pd.DataFrame:
    """Return applicants to the six largest graduate departments at Berkeley in autumn 1973.

    Over all departments men were admitted more often; within most of them women were. The
    departments are called A to F by size.

    Returns
    -------
    pandas.DataFrame
        12 rows: ``dept`` (``"A"`` to ``"F"``), ``gender`` (``"Male"``, ``"Female"``), ``admitted``
        (applicants) and ``total`` (applicants).

    References
    ----------
    .. [1] Bickel, P. J., Hammel, E. A. and O'Connell, J. W. (1975). Sex bias in graduate
       admissions: data from Berkeley. Science, 187(4175), 398-404.
    .. [2] Freedman, D., Pisani, R. and Purves, R. (1978). Statistics. New York: Norton, chapter 2,
       where the counts by department are printed.

    Examples
    --------
    >>> applicants = ucb_admissions()
    >>> both = applicants.groupby("gender")[["admitted", "total"]].sum()
    >>> (both["admitted"] / both["total"]).round(3).to_dict()
    {'Female': 0.304, 'Male': 0.445}
    """
    import pandas as pd

    rows = [
        ("A", "Male", 512, 825),
        ("A", "Female", 89, 108),
        ("B", "Male", 353, 560),
        ("B", "Female", 17, 25),
        ("C", "Male", 120, 325),
        ("C", "Female", 202, 593),
        ("D", "Male", 138, 417),
        ("D", "Female", 131, 375),
        ("E", "Male", 53, 191),
        ("E", "Female", 94, 393),
        ("F", "Male", 22, 373),
        ("F", "Female", 24, 341),
    ]
    return pd.DataFrame(rows, columns=["dept", "gender", "admitted", "total"])


def spector() -> pd.DataFrame:
    """Return 32 students of economics, of whom 14 were taught by a new method.

    Returns
    -------
    pandas.DataFrame
        32 rows: ``GPA`` (grade point average before the course), ``TUCE`` (score of a test of
        economics on entering), ``PSI`` (1 if taught by the personalised system of instruction,
        else 0) and ``GRADE`` (1 if the final grade was an A, else 0).

    References
    ----------
    .. [1] Spector, L. C. and Mazzeo, M. (1980). Probit analysis and economic education. Journal of
       Economic Education, 11(2), 37-44.
    .. [2] Greene, W. H. (2003). Econometric Analysis, 5th edition. Prentice Hall, table F21.1.

    Examples
    --------
    >>> students = spector()
    >>> students.groupby("PSI")["GRADE"].agg(["sum", "count"]).to_numpy().tolist()
    [[3, 18], [8, 14]]
    """
    import pandas as pd

    columns = {
        "GPA": [
            *(2.66, 2.89, 3.28, 2.92, 4.00, 2.86, 2.76, 2.87, 3.03, 3.92, 2.63),
            *(3.32, 3.57, 3.26, 3.53, 2.74, 2.75, 2.83, 3.12, 3.16, 2.06, 3.62),
            *(2.89, 3.51, 3.54, 2.83, 3.39, 2.67, 3.65, 4.00, 3.10, 2.39),
        ],
        "TUCE": [
            *(20, 22, 24, 12, 21, 17, 17, 21, 25, 29, 20, 23, 23, 25, 26, 19),
            *(25, 19, 23, 25, 22, 28, 14, 26, 24, 27, 17, 24, 21, 23, 21, 19),
        ],
        "PSI": [0] * 18 + [1] * 14,
        "GRADE": [
            *(0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0),
            *(0, 0, 0, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1, 1, 0, 1),
        ],
    }
    return pd.DataFrame(columns)


def cbpp() -> pd.DataFrame:
    """Return new cases of contagious bovine pleuropneumonia in 15 herds of zebu cattle.

    Returns
    -------
    pandas.DataFrame
        56 rows: ``herd`` (1 to 15), ``period`` (1 to 4, of some months each), ``size`` (animals in
        the herd at its beginning) and ``incidence`` (new cases in it).

    References
    ----------
    .. [1] Lesnoff, M., Laval, G., Bonnet, P. et al. (2004). Within-herd spread of contagious bovine
       pleuropneumonia in Ethiopian highlands. Preventive Veterinary Medicine, 64(1), 27-40.

    Examples
    --------
    >>> herds = cbpp()
    >>> herds.groupby("period")[["incidence", "size"]].sum().to_numpy().tolist()
    [[61, 278], [17, 212], [14, 197], [7, 155]]
    """
    import pandas as pd

    columns = {
        "herd": [
            *(1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7),
            *(7, 7, 8, 9, 9, 9, 9, 10, 10, 10, 10, 11, 11, 11, 11, 12, 12, 12, 12, 13),
            *(13, 13, 13, 14, 14, 14, 14, 15, 15, 15, 15),
        ],
        "period": [
            *(1, 2, 3, 4, 1, 2, 3, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2),
            *(3, 4, 1, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2),
            *(3, 4, 1, 2, 3, 4),
        ],
        "size": [
            *(14, 12, 9, 5, 22, 18, 21, 22, 16, 16, 20, 10, 10, 9, 6, 18, 25, 24, 4, 17),
            *(17, 18, 20, 16, 10, 9, 5, 34, 9, 6, 8, 6, 22, 22, 18, 22, 25, 27, 22, 22),
            *(10, 8, 6, 5, 21, 24, 19, 23, 19, 2, 3, 2, 19, 15, 15, 15),
        ],
        "incidence": [
            *(2, 3, 4, 0, 3, 1, 1, 8, 2, 0, 2, 2, 0, 2, 0, 5, 0, 0, 1, 3, 0, 0, 1, 8, 1),
            *(3, 0, 12, 2, 0, 0, 0, 1, 1, 0, 2, 0, 5, 3, 1, 2, 1, 0, 0, 1, 2, 0, 0, 11),
            *(0, 0, 0, 1, 1, 1, 0),
        ],
    }
    return pd.DataFrame(columns)


def bioassay() -> pd.DataFrame:
    """Return four groups of five animals, each given one dose of a chemical.

    Returns
    -------
    pandas.DataFrame
        4 rows: ``dose`` (natural log of g/ml), ``n`` (animals) and ``deaths`` (animals).

    References
    ----------
    .. [1] Racine, A., Grieve, A. P., Flühler, H. and Smith, A. F. M. (1986). Bayesian methods in
       practice: experiences in the pharmaceutical industry. Applied Statistics, 35(2), 93-150.
    .. [2] Gelman, A. et al. (2013). Bayesian Data Analysis, 3rd edition. CRC Press, section 3.7.

    Examples
    --------
    >>> bioassay().to_numpy().tolist()
    [[-0.86, 5.0, 0.0], [-0.3, 5.0, 1.0], [-0.05, 5.0, 3.0], [0.73, 5.0, 5.0]]
    """
    import pandas as pd

    return pd.DataFrame(
        {"dose": [-0.86, -0.30, -0.05, 0.73], "n": [5, 5, 5, 5], "deaths": [0, 1, 3, 5]}
    )


def simulate(
    num_samples: int = 100_000,
    weights: Sequence[float] = (1.5, -0.8),
    bias: float = 0.3,
    link: str | Link = "logit",
    seed: int = 42,
) -> pd.DataFrame:
    """Draw 0/1 outcomes from a model whose coefficients are known.

    The predictors are independent standard normal and ``y ~ Bernoulli(F(bias + x @ weights))``.
    One generator draws all predictors row by row and then all outcomes, so the same arguments give
    the same rows.

    Parameters
    ----------
    num_samples : int
        Number of rows.
    weights : sequence of float
        One coefficient per predictor, on the scale of the link.
    bias : float
        The intercept, on the scale of the link.
    link : str or Link
        Name or object of the link, as ``Model(link=)`` takes it.
    seed : int
        Seed of ``numpy.random.default_rng``.

    Returns
    -------
    pandas.DataFrame
        ``num_samples`` rows with columns ``x1``, ``x2``, ... and ``y`` (0 or 1). ``.attrs`` holds
        the truth: ``"Intercept"`` (float), ``"beta"`` (dict, column to float), ``"link"`` (text)
        and ``"seed"``.

    Raises
    ------
    SpecificationError
        If ``num_samples`` is not a positive whole number, ``weights`` is not a sequence of finite
        numbers, or the link is unknown.
    DataError
        If the link is bounded and some linear predictor lies outside its domain.

    Examples
    --------
    >>> rows = simulate(1_000)
    >>> list(rows), rows.attrs["beta"]
    (['x1', 'x2', 'y'], {'x1': 1.5, 'x2': -0.8})
    """
    import pandas as pd

    try:
        count = operator.index(num_samples)
    except TypeError:
        count = 0
    if count < 1:
        raise SpecificationError(
            explain("num_samples must be a positive whole number", num_samples=num_samples)
        )
    slopes = np.asarray(weights, dtype=np.float64)
    if slopes.ndim != 1 or not np.isfinite([*slopes.ravel(), bias]).all():
        raise SpecificationError(
            explain(
                "weights must be a sequence of finite numbers and bias a finite number",
                weights=weights,
                bias=bias,
            )
        )
    chosen = get_link(link)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, slopes.size))
    y = rng.binomial(1, _probability(bias + x @ slopes, chosen))

    names = [f"x{i}" for i in range(1, slopes.size + 1)]
    frame = pd.DataFrame(x, columns=names).assign(y=y)
    frame.attrs = {
        "Intercept": float(bias),
        "beta": dict(zip(names, slopes.tolist(), strict=True)),
        "link": chosen.label,
        "seed": seed,
    }
    return frame


def _probability(eta: np.ndarray, link: Link) -> np.ndarray:
    """Return F(eta) in double precision; refuse eta outside the domain of a bounded link."""
    lower, upper = link.domain
    outside = int(np.sum((eta < lower) | (eta > upper)))
    if outside:
        raise DataError(
            explain(
                f"the link {link.label!r} is defined for linear predictors from {lower:g} to "
                f"{upper:g} only, and {outside} of {eta.size} rows lie outside",
                advice="use smaller weights and another bias, or a link without bounds",
            )
        )
    with scope("float64"):
        return np.asarray(link.inverse(jnp.asarray(eta)))
