"""What `fit_many` returns: one table of all estimates, one of all fits, and what went wrong where."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bayesglm import frames
from bayesglm.errors import DataError, Finding, SpecificationError, explain
from bayesglm.implied import priors_of
from bayesglm.merging import sliceable
from bayesglm.model import Model
from bayesglm.newdata import encode
from bayesglm.precision import scope

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.design import Design
    from bayesglm.priors import Priors
    from bayesglm.segments import Segments
    from bayesglm.spec import Spec

__all__ = ["ManyFits", "label_of", "rows_design"]

# Fits named in a message.
NAMED = 5


@dataclass(frozen=True, eq=False, repr=False)
class ManyFits:
    """Many fits of one formula, made by `fit_many`.

    Attributes
    ----------
    spec, design
        The model on all rows: its encoding, and its ``priors``, are those of every fit.
    method : str
    level : float
        Coverage of the intervals of ``table``.
    labels : DataFrame
        What names each fit: the columns of ``by``, or ``candidate``, or ``outcome``.
    names : tuple of str
        The coefficients, ``Intercept`` first.
    theta : ndarray, shape (s, k)
        Estimates (link scale); NaN where there are none.
    cov : ndarray, shape (s, k, k)
        Their covariances.
    segments : DataFrame
        One row for each fit, indexed by its label: ``rows`` (of weight > 0), ``events`` (weighted),
        ``status``, ``converged``, ``loglik``, ``findings`` (their codes); ``k_hat`` for Laplace.
    findings : tuple of Finding
        Of all fits; ``where`` says of which.
    seconds : float

    Examples
    --------
    >>> import numpy as np, pandas as pd, bayesglm as bg
    >>> rng = np.random.default_rng(0)
    >>> data = pd.DataFrame({"shop": np.repeat(["a", "b", "c"], 100), "x": rng.normal(size=300)})
    >>> data["sold"] = rng.uniform(size=300) < 1 / (1 + np.exp(-data["x"]))
    >>> many = bg.fit_many("sold ~ x", data, by="shop")
    >>> list(many.coef.columns), many.coef.shape
    (['Intercept', 'x'], (3, 2))
    >>> many.predict({"shop": ["a", "c"], "x": [0.0, 0.0]}).shape
    (2,)
    """

    spec: Spec
    design: Design
    method: str
    level: float
    labels: pd.DataFrame
    names: tuple[str, ...]
    theta: np.ndarray
    cov: np.ndarray
    segments: pd.DataFrame
    findings: tuple[Finding, ...]
    seconds: float
    kind: Literal["segment", "candidate", "outcome"] = "segment"
    rows: Segments | None = None
    # Columns of the table beside the estimates, (s,) each.
    extra: dict[str, np.ndarray] = field(default_factory=dict)

    @cached_property
    def priors(self) -> Priors:
        """The priors in numbers, learned on all rows."""
        return priors_of(self.spec, self.design)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row for each fit and term: estimate, std_error, lower, upper (and p_value).

        Link scale; of candidates their own term only, with the score test beside Wald's.
        """
        import pandas as pd
        from scipy.special import ndtr, ndtri

        own = slice(-1, None) if self.kind == "candidate" else slice(None)
        estimate = self.theta[:, own]
        with np.errstate(invalid="ignore", divide="ignore"):
            error = np.sqrt(np.diagonal(self.cov, axis1=1, axis2=2)[:, own])
            z = estimate / error
        fits, terms = estimate.shape
        reach = ndtri(0.5 + self.level / 2) * error
        columns: dict[str, Any] = {
            str(name): np.repeat(self.labels[name].to_numpy(), terms) for name in self.labels
        }
        for name in self.labels:
            if isinstance(self.labels[name].dtype, pd.CategoricalDtype):
                columns[str(name)] = self.labels[name].repeat(terms).array
        if self.kind != "candidate":
            columns["term"] = np.tile(np.array(self.names, dtype=object), fits)
        columns |= {
            "estimate": estimate.ravel(),
            "std_error": error.ravel(),
            "lower": (estimate - reach).ravel(),
            "upper": (estimate + reach).ravel(),
        }
        if self.method == "mle":
            columns["p_value"] = 2 * ndtr(-np.abs(z)).ravel()
        return pd.DataFrame(columns | self.extra)

    @cached_property
    def coef(self) -> pd.DataFrame:
        """Estimates (link scale), fits by terms; NaN where there is none."""
        import pandas as pd

        names = [*self.names[:-1], "candidate"] if self.kind == "candidate" else self.names
        return pd.DataFrame(self.theta, index=self.segments.index, columns=list(names))

    def predict(self, newdata: Any, kind: Literal["response", "link"] = "response") -> np.ndarray:
        """Predict for new rows, each by the fit of its segment.

        Parameters
        ----------
        newdata : DataFrame or dict
            The columns of the right side and those of ``by``; scalars of a dict are repeated.
        kind : {"response", "link"}
            The probability of the event, or eta on the link scale.

        Returns
        -------
        ndarray, shape (n,)
            NaN where the segment has no estimate.

        Raises
        ------
        DataError
            For a segment that was not there.
        """
        self._refuse_other("predict")
        if kind not in ("response", "link"):
            raise SpecificationError(
                explain("unknown kind of prediction", kind=kind, advice="use response or link")
            )
        names = [str(name) for name in self.labels]
        at = self._places(frames.select(newdata, names))
        rows = encode(self.design, newdata)
        # What was left out as aliased counts as 0; of a segment without an estimate all is NaN.
        theta = np.where(self.estimated[:, None], np.nan_to_num(self.theta), np.nan)
        if len(at) != rows.n:
            at = np.broadcast_to(at, (rows.n,))
        eta = rows.offset.copy()
        first = int(self.design.intercept)
        if first:
            eta += theta[at, 0]
        for j in range(self.design.p):
            values = rows.matrix[:, [j]]
            dense = values if isinstance(values, np.ndarray) else values.toarray()
            eta += dense[:, 0] * theta[at, first + j]
        if kind == "link":
            return eta
        with scope("float64"):
            return np.asarray(self.spec.link.inverse(eta))

    @property
    def estimated(self) -> np.ndarray:
        """Which fits have an estimate, shape (s,)."""
        return np.isfinite(self.theta).any(axis=1)

    def model(self, segment: Any) -> Model:
        """Return the model of one segment, to look closer: `bayesglm.diagnose`, other methods.

        Its encoding and its priors are those of all rows.

        Parameters
        ----------
        segment : object
            The value of ``by``, or a tuple where that is several columns.

        Raises
        ------
        DataError
            For a segment that was not there, or has no rows.
        """
        import pandas as pd

        self._refuse_other("model")
        names = [str(name) for name in self.labels]
        values = segment if len(names) > 1 and isinstance(segment, tuple) else (segment,)
        if len(values) != len(names):
            raise DataError(explain(f"a segment has a value of each of {names}", segment=segment))
        key = pd.DataFrame({name: [value] for name, value in zip(names, values, strict=True)})
        (place,) = self._places(key)
        if self.rows is None or not self.rows.sizes[place]:
            raise DataError(explain("the segment has no rows", segment=segment))
        found = Model.__new__(Model)
        found.spec, found.priors = self.spec, self.priors
        found.design = rows_design(self.design, self.rows.rows(int(place)))
        return found

    def _refuse_other(self, word: str) -> None:
        if self.kind != "segment":
            raise SpecificationError(
                explain(f"{word} is for fits by segment", fits=f"by {self.kind}")
            )

    def _places(self, keys: pd.DataFrame) -> np.ndarray:
        """Return the number of each row's segment, refusing those that were not there."""
        import pandas as pd

        names = list(self.labels)
        if len(names) == 1:
            known, asked = pd.Index(self.labels[names[0]]), pd.Index(keys[names[0]])
        else:
            known = pd.MultiIndex.from_frame(self.labels)
            asked = pd.MultiIndex.from_frame(keys)
        at = np.asarray(known.get_indexer(asked))
        if (at < 0).any():
            strange = list(dict.fromkeys(asked[at < 0]))
            raise DataError(
                explain(
                    f"{int((at < 0).sum())} rows are of segments that were not there in training",
                    segments=strange[:NAMED],
                    advice="predict for the others only",
                )
            )
        return at

    def __repr__(self) -> str:
        """Return how many fits there are, and what became of them."""
        s = len(self.labels)
        what = {"segment": "segments", "candidate": "candidates", "outcome": "outcomes"}[self.kind]
        spec, counts = self.spec, self.segments["status"].value_counts()
        head = (
            f"ManyFits({spec.formula!r}, by {', '.join(map(str, self.labels))}, "
            f"method={self.method}, link={spec.link.label})"
        )
        lines = [head, f"  {s:,} {what}, {int(self.estimated.sum()):,} with an estimate"]
        lines += [f"  {status}: {count:,}" for status, count in counts.items()]
        return "\n".join([*lines, "  see .table, .segments, .findings"])


def label_of(labels: pd.DataFrame, place: int) -> str:
    """Return what names a fit, as ``shop = 'a'``."""
    row = labels.iloc[place]
    return ", ".join(f"{name} = {_plain(value)!r}" for name, value in row.items())


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def rows_design(design: Design, rows: np.ndarray) -> Design:
    """Return the design of some of its rows, its encoding and facts those of the whole."""
    return replace(
        design,
        matrix=sliceable(design.matrix)[rows],
        frame=None if design.frame is None else design.frame.iloc[rows],
        kept=None,
        source=None,
        findings=(),
        **{name: getattr(design, name)[rows] for name in ("y", "trials", "weights", "offset")},
    )
