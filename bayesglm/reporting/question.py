"""The question, the model that answers it, and the priors it starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bayesglm.priors import describe
from bayesglm.reporting.blocks import Block, Code, Material, Section, Table, Text, attempt
from bayesglm.reporting.words import formula_of, linear, link_words, method_words

if TYPE_CHECKING:
    from bayesglm.fit import Fit

__all__ = ["prior_section", "section"]

# Priors that are listed.
LISTED = 60


def section(material: Material) -> Section:
    """Return the model in words and in a formula."""
    fit = material.fit
    event = str(fit.design.outcome)
    if fit.spec.family.has_sigma:
        opening = f"How does {event} depend on {_predictors(material)}?"
        equation = f"{fit.design.outcome.name} = η + noise,   η = {linear(fit)}"
    else:
        opening = f"How does P({event}), the probability, depend on {_predictors(material)}?"
        p = "lapse/2 + (1 − lapse) F(η)" if "lapse" in fit.spec.shape else "F(η)"
        equation = f"P({event}) = {p},   η = {linear(fit)}"
    blocks: list[Block] = [Text(opening), Code(equation), Text(link_words(fit))]
    links = {one.spec.link.label for one in material.fits.values()}
    if len(links) > 1:
        blocks.append(Text(f"The fits have different links: {', '.join(sorted(links))}."))
    blocks.append(Text(f"As a formula: {formula_of(fit)}"))
    for method in dict.fromkeys(one.method for one in material.fits.values()):
        example = next(one for one in material.fits.values() if one.method == method)
        blocks.append(Text(method_words(example)))
    return Section("model", "The question and the model", blocks)


def _predictors(material: Material) -> str:
    design = material.fit.design
    names = list(dict.fromkeys(name for facts in design.columns for name in facts.variables))
    names += [
        name for given in design.inputs for name in given.formula.right_columns if name not in names
    ]
    if not names:
        return "nothing (a constant)"
    if len(names) > 8:
        return f"{', '.join(names[:7])} and {len(names) - 7} more columns"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def prior_section(material: Material) -> Section | None:
    """Return the priors in numbers and what they imply; None where no fit uses one."""
    fits = [fit for fit in material.fits.values() if fit.method != "mle"]
    if not fits:
        return None
    fit = material.fit if material.fit.method != "mle" else fits[0]
    priors = fit.priors
    rows = []
    table = priors.table()
    named = [("Intercept (centred)", priors.intercept)] if priors.has_intercept else []
    varying = [each for group in priors.groups for each in group.named]
    beta = zip(priors.terms, priors.beta, strict=True)
    for term, prior in [*named, *beta, *varying, *priors.shape][:LISTED]:
        low, high = (float(table[end][term]) for end in ("lower", "upper"))
        ends = ["–" if np.isnan(v) else f"{v:.3g}".replace("-", "−") for v in (low, high)]
        rows.append([term, describe(prior), *ends])
    blocks: list[Block] = [
        Text(f"The preset is “{priors.name}”, on the link scale.")
        if priors.name != "custom"
        else Text("The priors were chosen by hand; they are on the link scale."),
        Table("Priors of the coefficients", ["Term", "Distribution", "2.5 %", "97.5 %"], rows, 2),
    ]
    attempt(blocks, lambda: _implied(fit), "What the priors imply")
    return Section("priors", "Priors, and what they imply", blocks)


def _implied(fit: Fit) -> Text | None:
    quantiles = fit.priors.implied_quantiles()
    if not quantiles:
        return None
    low, middle, high = quantiles
    return Text(
        "Before any data, for the rows at hand, they expect a probability of the event between "
        f"{low:.3f} and {high:.3f} (90 % of prior draws), with {middle:.3f} in the middle."
    )
