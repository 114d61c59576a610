"""A fit as text and as HTML: its header, its table, its findings."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from bayesglm import tables
from bayesglm.intervals import interval_of

if TYPE_CHECKING:
    from bayesglm.fit import Fit

__all__ = ["as_html", "as_text", "header"]


def header(fit: Fit) -> list[tuple[str, str]]:
    """Return the facts above the table as pairs of a word and its value."""
    outcome = fit.design.outcome
    event = outcome.name
    if outcome.event:
        event += f" = {outcome.event}" + (f" (not {outcome.other})" if outcome.other else "")
    formula = fit.spec.formula or f"{outcome.name} ~ {' + '.join(fit.design.terms)}"
    facts = [
        ("formula", formula + "".join(f" + {n.name}({n.formula})" for n in fit.spec.add)),
        ("family", f"{fit.spec.family.name}, link {fit.spec.link.label}"),
        ("event", event),
        ("rows", f"{fit.nobs:,}" + _events(fit)),
        ("method", f"{_method(fit)}, {fit.seconds:.2f} s"),
        ("status", str(fit.status)),
    ]
    if fit.method == "mle":
        facts += [("errors", _errors(fit)), ("loglik", f"{fit.loglik:.4f}")]
        return facts if fit.spec.add else [*facts, ("interval", _interval(fit))]
    return [*facts, ("prior", fit.priors.name)]


def _events(fit: Fit) -> str:
    if fit.spec.family.has_sigma:
        return ""
    return f" ({fit.design.events:,.10g} events in {fit.design.effective:,.10g} trials)"


def _errors(fit: Fit) -> str:
    if fit.spec.add:
        return "none"
    if fit.errors.get("cluster"):
        return f"clustered by {fit.errors['cluster']} (CR1)"
    cov = fit.errors.get("cov", "nonrobust")
    return f"{fit.errors['information']} information" if cov == "nonrobust" else f"robust ({cov})"


def _method(fit: Fit) -> str:
    reduction = fit.result.options.get("bias_reduction")
    return f"{fit.method} (bias reduction: {reduction})" if reduction else fit.method


def _interval(fit: Fit) -> str:
    kind = {"wald": "Wald", "profile": "profile likelihood"}[interval_of(fit)]
    penalised = kind[0] == "p" and "bias_reduction" in fit.result.options
    return f"95 %, {'penalised ' if penalised else ''}{kind}"


def as_text(fit: Fit) -> str:
    """Return header, table and findings as text."""
    lines = [f"{word:<9}{value}" for word, value in header(fit)]
    lines += ["", tables.to_text(fit.summary())]
    if fit.findings:
        lines += ["", *(str(finding) for finding in fit.findings)]
    return "\n".join(lines)


def as_html(fit: Fit) -> str:
    """Return header, table and findings as HTML; everything from the data is escaped."""
    facts = "".join(
        f"<tr><th style='text-align:left'>{escape(word)}</th>"
        f"<td style='text-align:left'>{escape(value)}</td></tr>"
        for word, value in header(fit)
    )
    table = fit.summary()
    # pandas escapes the cells and labels.
    body = table.to_html(
        formatters=tables.formatters(table), index_names=False, border=0, na_rep="-"
    )
    notes = "".join(f"<li>{escape(str(finding))}</li>" for finding in fit.findings)
    return f"<table>{facts}</table>{body}" + (f"<ul>{notes}</ul>" if notes else "")
