"""Hypotheses about coefficients, or about answers: linear and nonlinear, with equivalence."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from bayesglm.arithmetic import evaluate
from bayesglm.effects.answers import Behind, Quantity, answer, scale_of, tabulate
from bayesglm.errors import SpecificationError, explain, suggest
from bayesglm.expressions import parse, quoted_names
from bayesglm.precision import in_double
from bayesglm.tables import check_level

if TYPE_CHECKING:
    from bayesglm.fit import Fit

__all__ = ["hypotheses"]


def hypotheses(
    fit: Fit | Any,
    hypothesis: str | list[str],
    *,
    level: float = 0.95,
    equivalence: tuple[float, float] | None = None,
) -> Any:
    """Test hypotheses about coefficients, or about the rows of a table of answers.

    Parameters
    ----------
    fit : Fit, or what `predictions`, `comparisons` or `slopes` returned
    hypothesis : str or list of str
        Equations such as ``"x = 2 * z"`` or ``"exp(x) = 1"``, or expressions, which are compared
        with 0. Coefficients are called by name (in backticks where it is no plain word:
        ```"`g[T.b]` = 0"```) or by place, ``b1`` the first; rows of a table by place.
    level : float
        Coverage of the interval.
    equivalence : (float, float), optional
        The region of practical equivalence of the difference between both sides. Adds p_noninferior
        (against: at most the lower end), p_nonsuperior, and p_equivalent, the larger of the two
        (two one-sided tests); for draws the share of the posterior inside, ``in_region``.

    Returns
    -------
    DataFrame
        hypothesis, estimate (left less right side), std_error, lower, upper; z and p_value for an
        MLE (the delta method where it is not linear), p_direction for draws.

    Raises
    ------
    SpecificationError
        For an expression that cannot be read, an unknown name, or a table without covariance.

    References
    ----------
    Schuirmann (1987), J. Pharmacokinetics and Biopharmaceutics 15 (two one-sided tests).

    Examples
    --------
    >>> import bayesglm as bg
    >>> fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("mle")
    >>> bg.hypotheses(fit, "exp(temperature) = 1").drop(columns=["lower", "upper"]).round(4)
                 hypothesis  estimate  std_error       z  p_value
    0  exp(temperature) = 1   -0.2072     0.0858 -2.4144   0.0158
    """
    import pandas as pd

    level = check_level(level)
    asked = [hypothesis] if isinstance(hypothesis, str) else list(hypothesis)
    if not asked or not all(isinstance(text, str) for text in asked):
        raise SpecificationError(
            explain("a hypothesis is a text, such as 'b1 = b2'", hypothesis=hypothesis)
        )
    names, estimate, cov, draws, tests = _subject(fit)
    expressions = [_Expression(text, names) for text in asked]
    scale = scale_of("identity")
    made = None
    if draws is not None:
        flat = draws.reshape(-1, draws.shape[-1])
        made = np.stack([e.value(flat.T) for e in expressions], axis=1)
        quantity = Quantity(made.mean(axis=0), np.full(len(asked), np.nan), draws=made)
        jacobian = None
    else:
        value = np.array([e.value(estimate) for e in expressions], dtype=float)
        jacobian = np.stack([e.gradient(estimate) for e in expressions])
        error = np.sqrt(np.einsum("mk,kl,ml->m", jacobian, cov, jacobian))
        quantity = Quantity(value, error)
    columns = tabulate(quantity, level=level, scale=scale, tests=tests)
    if equivalence is not None:
        columns |= _equivalence(quantity, equivalence)
    behind = Behind(
        question="hypotheses",
        kind="difference",
        level=level,
        null=0.0,
        draws=None if made is None or draws is None else made.reshape(*draws.shape[:2], -1),
        jacobian=jacobian,
        cov=None if draws is not None else cov,
    )
    return answer(pd.DataFrame({"hypothesis": asked, **columns}), behind)


def _subject(fit: Any) -> tuple[list[str], np.ndarray, Any, np.ndarray | None, bool]:
    """Return names, estimates, covariance, draws of what is spoken of, and whether to test."""
    behind = getattr(fit, "behind", None)
    if behind is not None:
        estimate = fit["estimate"].to_numpy(float)
        places = [f"b{k + 1}" for k in range(len(estimate))]
        if behind.draws is not None:
            return places, estimate, None, behind.draws, False
        return places, estimate, fit.vcov, None, "p_value" in fit.columns
    if not hasattr(fit, "result"):
        raise SpecificationError(
            explain("hypotheses are about a fit or a table of answers", got=type(fit).__name__)
        )
    result = fit.result
    draws = fit.theta_draws() if result.draws else None
    return list(fit.terms), result.theta, result.cov, draws, fit.method == "mle"


class _Expression:
    """One hypothesis as a function of the coefficients."""

    def __init__(self, text: str, names: list[str]) -> None:
        plain, _ = quoted_names(text)
        if any(sign in plain for sign in ("==", "<", ">", "!=")) or plain.count("=") > 1:
            raise SpecificationError(
                explain("a hypothesis is an equation with one '=', or an expression", got=text)
            )
        left, sign, right = _split(text)
        if not left.strip() or (sign and not right.strip()):
            raise SpecificationError(explain("one side of the hypothesis is empty", got=text))
        self.text = f"({left}) - ({right})" if right else left
        tree, quoted = parse(self.text, text)
        found = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
        functions = [
            n.func.id for n in ast.walk(tree)
            if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
        ]  # fmt: skip
        place = {f"b{k + 1}": k for k in range(len(names))} | {n: k for k, n in enumerate(names)}
        self.places: dict[str, int] = {}
        for word in found:
            name = quoted.get(word, word)
            if name in place:
                self.places[name] = place[name]
            elif word not in (*functions, "np"):
                raise SpecificationError(
                    explain(
                        f"no coefficient {name!r}{suggest(name, list(place))}",
                        hypothesis=text,
                        advice="the names are " + ", ".join(names[:20]),
                    )
                )
        if not self.places:
            raise SpecificationError(explain("the hypothesis names no coefficient", got=text))
        self.hypothesis = text

    @in_double
    def value(self, theta: np.ndarray) -> np.ndarray:
        """Return the expression at coefficients (k,) or (k, s)."""
        return np.asarray(self._at(jnp.asarray(theta)), dtype=float)

    @in_double
    def gradient(self, theta: np.ndarray) -> np.ndarray:
        """Return its derivatives, shape (k,)."""
        return np.asarray(jax.grad(self._at)(jnp.asarray(theta)))

    def _at(self, theta: Any) -> Any:
        columns: Mapping[str, Any] = {name: theta[k] for name, k in self.places.items()}
        found = evaluate(self.text, self.hypothesis, columns, functions=jnp)
        return jnp.asarray(found, float)


def _split(text: str) -> tuple[str, str, str]:
    """Split at the sign of equality, which may stand in a quoted name too."""
    inside, start = False, -1
    for k, letter in enumerate(text):
        if letter == "`":
            inside = not inside
        elif letter == "=" and not inside:
            start = k
    return (text, "", "") if start < 0 else (text[:start], "=", text[start + 1 :])


def _equivalence(quantity: Quantity, region: tuple[float, float]) -> dict[str, np.ndarray]:
    from scipy.special import ndtr

    try:
        lower, upper = (float(end) for end in region)
    except (TypeError, ValueError) as error:
        raise SpecificationError(
            explain("equivalence must be two numbers", equivalence=region)
        ) from error
    if not lower < upper:
        raise SpecificationError(
            explain("equivalence must be a lower and an upper end", equivalence=region)
        )
    if quantity.draws is not None:
        inside = (quantity.draws > lower) & (quantity.draws < upper)
        return {"in_region": inside.mean(axis=0)}
    below = ndtr(-(quantity.value - lower) / quantity.error)
    above = ndtr((quantity.value - upper) / quantity.error)
    return {
        "p_noninferior": below,
        "p_nonsuperior": above,
        "p_equivalent": np.maximum(below, above),
    }
