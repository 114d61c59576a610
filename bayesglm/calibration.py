"""Are the posteriors of a method right? Simulation-based calibration.

Parameters are drawn from the prior and an outcome given them; the method is fitted to that outcome;
then the truth is one more draw from the posterior. So its rank among L independent draws is uniform
on 0, 1, ..., L, for every quantity, if (and, over enough quantities, only if) the method is right.

The log likelihood is ranked too, as it sees errors that no single coefficient shows: a method that
gave back the prior would have uniform ranks for all of those.

References
----------
Talts, Betancourt, Simpson, Vehtari & Gelman (2018), "Validating Bayesian inference algorithms with
simulation-based calibration", arXiv:1804.06788; Modrák, Moon, Kim, Bürkner, Huurre, Faltejsková,
Gelman & Vehtari (2023), "Simulation-based calibration checking for Bayesian computation: the choice
of test quantities shapes sensitivity", Bayesian Analysis.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bayesglm.errors import BayesGLMWarning, Finding, InferenceError, SpecificationError, explain
from bayesglm.progress import bar
from bayesglm.replications import Replication, copies, names_of, plan_of, replicated
from bayesglm.uniformity import uniformity

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.model import Model

__all__ = ["Calibration", "simulation_based_calibration"]

# Correlation of neighbouring draws (after thinning) that makes ranks uneven by themselves.
CORRELATED = 0.1
# Replications without which there is nothing to say.
LEAST = 20


@dataclass(frozen=True)
class Calibration:
    """What `simulation_based_calibration` returns.

    Attributes
    ----------
    model, method : str
    ranks : DataFrame, shape (replications, quantities)
        Rank of the truth among ``draws`` draws, 0 to ``draws``; its index has the number of each
        replication, from 0. Failed ones have no row.
    certified : ndarray of bool, shape (replications,)
        Rows of ``ranks`` that ``table`` is made of: those whose certificate holds; for ``"nuts"``
        all of them.
    draws : int
        L.
    table : DataFrame
        One row for each quantity, see `bayesglm.uniformity.uniformity`: ``chi2``, ``p_value``,
        ``centre``, ``spread``, ``deviation``, ``limit``, ``inside``.
    level : float
        Probability that all quantities stay inside their bands if the posteriors are right.
    failed : int
        Replications for which the method found no answer.
    divergences : int
        Diverging draws of NUTS, in all replications together.
    seconds : float
        Wall time, compilation included.
    findings : tuple of Finding
    """

    model: str
    method: str
    ranks: pd.DataFrame
    certified: np.ndarray
    draws: int
    table: pd.DataFrame
    level: float
    failed: int
    divergences: int
    seconds: float
    findings: tuple[Finding, ...] = ()

    def summary(self) -> pd.DataFrame:
        """Return a copy of ``table``."""
        return self.table.copy()

    @property
    def uniform(self) -> bool:
        """Whether the ranks of every quantity stay inside their band."""
        return bool(self.table["inside"].all())

    def __repr__(self) -> str:
        """Return header, table and findings as text."""
        head = (
            f"Simulation-based calibration of {self.method}: {self.model}\n"
            f"{int(self.certified.sum()):,} replications, ranks among {self.draws:,} draws, "
            f"bands of {self.level:.4g} for all quantities together, {self.seconds:.1f} s"
        )
        table = self.table.to_string(float_format=lambda value: f"{value:.3g}")
        return "\n".join([head, "", table, *(str(finding) for finding in self.findings)])


def simulation_based_calibration(
    model: Model,
    method: Literal["laplace", "nuts", "svi"] = "laplace",
    *,
    replications: int = 500,
    draws: int | None = None,
    thin: int | None = None,
    level: float = 0.99,
    seed: int | np.random.Generator | None = 0,
    progress: bool | None = None,
    **options: Any,
) -> Calibration:
    """Check by simulation that a method's posteriors are right for a model and its rows.

    In each replication parameters are drawn from the model's prior (in numbers, as they are in
    ``model.priors``), an outcome given them at the model's rows (offset, trials and weights as they
    are), and the method is fitted as ``model.fit`` would. The outcome of the data is of no effect.

    Parameters
    ----------
    model : Model
        With proper priors, and without networks, whose weights are not identified. A ``Fit`` will do.
    method : {"laplace", "nuts", "svi"}
        Replications whose certificate does not hold are counted, and left out of the table: their
        fits carry an error. That leaves the others right, as a certificate knows the outcome and not
        the truth.
    replications : int
        Data sets to simulate.
    draws : int, optional
        L, the draws that the truth is ranked among: 999 independent ones, or 199 of NUTS.
    thin : int, optional
        Take every so many-th draw: 1 for independent draws, 5 for NUTS.
    level : float
        Probability that the right posteriors stay inside the bands, all quantities together.
    seed : int, Generator or None
        Fixes everything random.
    progress : bool, optional
        Show a progress bar; by default on a terminal and in a notebook.
    **options
        Of the method, as for `Model.fit`.

    Returns
    -------
    Calibration
        With ranks of the intercept, every coefficient, ``sigma`` (gaussian), standard deviations of
        groups and
        ``log_likelihood``. Ctrl-C keeps the replications that are done, with a finding.

    Raises
    ------
    SpecificationError
        For a flat prior, networks, weights that are no numbers of copies, an unknown option.
    InferenceError
        If fewer than two replications can be ranked.

    Warns
    -----
    BayesGLMWarning
        Once, with every finding that is more than a note.

    References
    ----------
    Talts et al. (2018), arXiv:1804.06788; for the log likelihood Modrák et al. (2023), Bayesian
    Analysis; for the bands Säilynoja, Bürkner & Vehtari (2022), Statistics and Computing 32.

    Examples
    --------
    >>> import bayesglm as bg
    >>> model = bg.Model("damage ~ temperature", bg.datasets.challenger())
    >>> checked = bg.simulation_based_calibration(model, "laplace", replications=50)
    >>> checked.ranks.shape, checked.draws, checked.uniform
    ((50, 3), 999, True)
    >>> list(checked.table.index)
    ['Intercept', 'temperature', 'log_likelihood']
    """
    import pandas as pd

    begin = time.perf_counter()
    plan = plan_of(method, replications, draws, thin, level, options)
    design = copies(model.spec, model.design)
    try:
        generator = np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise SpecificationError(
            explain("seed must be a whole number, a numpy Generator or None", seed=seed)
        ) from error
    done: list[Replication] = []
    stopped = False
    with bar(f"calibration of {method}", replications, progress=progress) as update:
        try:
            for replication in replicated(model, design, method, plan, generator):
                done.append(replication)
                if update is not None:
                    update(len(done), sum(one.divergences for one in done))
        except KeyboardInterrupt:
            if len(done) < LEAST:
                raise
            stopped = True
    ranked = [one for one in done if one.ranks is not None]
    certified = np.array([one.certified for one in ranked], dtype=bool)
    if certified.sum() < 2:
        raise InferenceError(
            explain(
                f"hardly any replication of {method} can be ranked",
                failed=len(done) - len(ranked),
                uncertified=int((~certified).sum()),
                advice=next((one.why for one in done if one.why), 'use method="nuts"'),
            )
        )
    names = [*names_of(model), "log_likelihood"]
    numbers = pd.Index([one.number for one in ranked], name="replication")
    ranks = pd.DataFrame(np.array([one.ranks for one in ranked]), index=numbers, columns=names)
    table = uniformity(ranks[certified], plan.draws, level=level)
    found = Calibration(
        model=repr(model),
        method=method,
        ranks=ranks,
        certified=certified,
        draws=plan.draws,
        table=table,
        level=level,
        failed=len(done) - len(ranked),
        divergences=sum(one.divergences for one in done),
        seconds=time.perf_counter() - begin,
    )
    found = replace(found, findings=_findings(found, done, replications, stopped))
    loud = [str(finding) for finding in found.findings if finding.severity != "note"]
    if loud:
        warnings.warn("\n".join(loud), BayesGLMWarning, stacklevel=2)
    return found


# -- what came out ------------------------------------------------------------------------------


def _findings(
    found: Calibration, done: list[Replication], wanted: int, stopped: bool
) -> tuple[Finding, ...]:
    told = []
    if stopped:
        told.append(
            Finding(
                "interrupted",
                "warning",
                f"Interrupted after {len(done):,} of {wanted:,} replications: these are kept.",
                value=len(done),
            )
        )
    if found.failed:
        why = next(one.why for one in done if one.ranks is None)
        told.append(
            Finding(
                "failed",
                "warning",
                f"{found.failed:,} of {len(done):,} replications found no answer; the first: {why}.",
                value=found.failed,
            )
        )
    left_out = int((~found.certified).sum())
    if left_out:
        told.append(
            Finding(
                "uncertified",
                "note",
                f"The certificate of {left_out:,} of {len(done):,} replications does not hold: they "
                "have ranks, and no part in the table.",
                value=left_out,
            )
        )
    if found.divergences:
        told.append(
            Finding(
                "divergences",
                "note",
                f"{found.divergences:,} draws diverged, of all replications together.",
                value=found.divergences,
                advice="Raise target_accept=.",
            )
        )
    correlations = np.mean([one.correlations for one in done if one.ranks is not None], axis=0)
    worst = int(np.argmax(correlations))
    if correlations[worst] > CORRELATED:
        told.append(
            Finding(
                "correlated",
                "warning",
                f"Neighbouring draws of {found.ranks.columns[worst]} have a correlation of "
                f"{correlations[worst]:.2f}, which makes ranks uneven by itself.",
                value=float(correlations[worst]),
                threshold=CORRELATED,
                where=str(found.ranks.columns[worst]),
                advice="Raise thin=.",
            )
        )
    table = found.table
    for quantity, row in table[~table["inside"]].iterrows():
        told.append(
            Finding(
                "not-uniform",
                "error",
                f"The posteriors of {quantity} are wrong: the distribution of its ranks is off by "
                f"{row['deviation']:+.3f} where {row['limit']:.3f} is allowed, {_shape(row)}.",
                value=float(row["deviation"]),
                threshold=float(row["limit"]),
                where=str(quantity),
            )
        )
    return tuple(told)


def _shape(row: Any) -> str:
    """Say what the ranks look like: the larger of a shift and a wrong width."""
    shift, width = row["centre"] - 0.5, row["spread"] - 1
    if abs(shift) * np.sqrt(12) > abs(width):
        return f"as truths lie {'above' if shift > 0 else 'below'} the draws too often"
    return f"as the draws are too {'narrow' if width > 0 else 'wide'}"
