"""The model and its methods in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bayesglm.canvas import label_of

if TYPE_CHECKING:
    from bayesglm.fit import Fit

__all__ = ["formula_of", "linear", "link_words", "method_words", "short_method"]

# Terms of a formula that are written out.
SHOWN = 6

LINKS = {
    "logit": "F is the logistic function; a coefficient is a log odds ratio.",
    "probit": "F is the standard normal distribution function.",
    "cloglog": "F(η) = 1 − exp(−exp(η)); the exponential of a coefficient is a hazard ratio.",
    "loglog": "F(η) = exp(−exp(−η)).",
    "cauchit": "F is the distribution function of Cauchy's distribution: outliers weigh little.",
    "log": "F(η) = exp(η); the exponential of a coefficient is a risk ratio.",
    "identity": "F(η) = η; a coefficient is a difference of probabilities.",
}
METHODS = {
    "mle": "Maximum likelihood: the coefficients under which the data are most probable. No prior "
    "is used; intervals speak of how the estimate would vary from sample to sample.",
    "map": "The mode of the posterior (MAP): the most probable coefficients, data and priors "
    "together; intervals by the curvature there.",
    "laplace": "The posterior by importance sampling around its mode (Laplace), with a certificate: "
    "Pareto's k-hat says whether the draws may be relied on.",
    "svi": "The posterior by a fitted approximation (variational inference), weighed by importance, "
    "with Pareto's k-hat as its certificate.",
    "nuts": "The full posterior by the No-U-Turn Sampler: intervals are ranges of probability for "
    "the coefficients, given data and priors.",
}


def formula_of(fit: Fit) -> str:
    """Return the model's formula, or one made of its columns."""
    text = fit.spec.formula or f"{fit.design.outcome.name} ~ {' + '.join(fit.design.terms[:SHOWN])}"
    more = len(fit.design.terms) - SHOWN if fit.spec.formula is None else 0
    text += f" + … ({more} more)" if more > 0 else ""
    return text + "".join(f" + {n.name}({n.formula})" for n in fit.spec.add)


def linear(fit: Fit) -> str:
    """Return eta as a sum."""
    terms = [label_of(term) for term in fit.design.terms]
    parts = ["β₀"] if fit.design.intercept else []
    parts += [f"β{_sub(j + 1)}·[{term}]" for j, term in enumerate(terms[:SHOWN])]
    if len(terms) > SHOWN:
        parts.append(f"… ({len(terms) - SHOWN} more terms)")
    parts += [f"{network.name}({network.formula.lstrip('~ ')})" for network in fit.spec.add]
    for group in fit.design.groups:
        parts += [
            f"u[{group.name}]" + ("" if term == "Intercept" else f"·[{label_of(term)}]")
            for term in group.terms
        ]
    parts += [f"curve of {smooth.variable}" for smooth in fit.design.smooths]
    if np.any(fit.design.offset):
        parts.append("offset")
    return " + ".join(parts) if parts else "0"


def _sub(j: int) -> str:
    return str(j).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def link_words(fit: Fit) -> str:
    """Return what F is."""
    link = fit.spec.link
    if fit.spec.family.has_sigma:
        return "This is the linear probability model: the outcome itself is regressed."
    if "df" in fit.spec.shape:
        known = "F is Student's t distribution function, its degrees of freedom learned (robit)."
    else:
        known = LINKS.get(link.name, f"F belongs to the link {link.label}.")
    if "lapse" in fit.spec.shape:
        known += (
            " A learned share of rows, lapse, have the outcome of a coin; what a coefficient means is "
            "said of the other rows."
        )
    return known


def method_words(fit: Fit) -> str:
    """Return what the method does."""
    words = METHODS[fit.method]
    reduction = fit.result.options.get("bias_reduction")
    return f"{words} Bias reduction: {reduction}." if reduction else words


def short_method(fit: Fit) -> str:
    """Return the method's name for a heading."""
    names = {"mle": "maximum likelihood", "map": "posterior mode", "laplace": "posterior (Laplace)"}
    return names.get(fit.method, f"posterior ({fit.method.upper()})")
