"""The code, versions and seeds that make it again."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from bayesglm.inference.options import OPTIONS
from bayesglm.reporting.blocks import Block, Code, Facts, Material, Section, Text

if TYPE_CHECKING:
    from bayesglm.fit import Fit

__all__ = ["section"]

PACKAGES = ("bayesglm", "jax", "numpyro", "arviz", "numpy", "scipy", "pandas")


def section(material: Material) -> Section:
    """Return how to make the fits again."""
    lines = ["import bayesglm as bg", ""]
    models: dict[str, str] = {}
    for name, fit in material.fits.items():
        call = _model(fit)
        if call not in models:
            models[call] = f"model{len(models) + 1}" if models else "model"
            lines.append(f"{models[call]} = {call}")
        lines.append(f"{_identifier(name)} = {models[call]}.fit({_arguments(fit)})")
    blocks: list[Block] = [
        Text("With data the table of the data, and your own objects where a name stands for one:"),
        Code("\n".join(lines)),
    ]
    pairs = [(f"Seconds ({name})", f"{fit.seconds:.2f}") for name, fit in material.fits.items()]
    pairs += [(package, version(package)) for package in PACKAGES]
    pairs.append(("Python", platform.python_version()))
    blocks.append(Facts(pairs))
    return Section("again", "How to make it again", blocks)


def _identifier(name: str) -> str:
    return name if name.isidentifier() else "fit"


def _model(fit: Fit) -> str:
    spec = fit.spec
    words: dict[str, Any] = {}
    if spec.family.has_sigma:
        words["family"] = spec.family.name
    elif spec.plain_link.label != "logit":
        words["link"] = spec.plain_link.label
    if "lapse" in spec.shape:
        words["lapse"] = True
    if spec.prior != "weak":
        words["prior"] = spec.prior if isinstance(spec.prior, str) else _Name("prior")
    for word in ("trials", "weights", "offset"):
        given = getattr(spec, word)
        if given is not None:
            words[word] = _Name(word) if given.startswith("__") else given
    defaults = {"weights_kind": "frequency", "missing": "error", "center": True}
    defaults |= {"precision": "float64", "event": None}
    words |= {w: getattr(spec, w) for w, usual in defaults.items() if getattr(spec, w) != usual}
    if spec.add:
        words["add"] = [_Name(repr(network)) for network in spec.add]
    if spec.formula is None:
        return f"bg.Model.from_arrays(X, y{_written(words)})"
    return f"bg.Model({spec.formula!r}, data{_written(words)})"


def _arguments(fit: Fit) -> str:
    options = {
        name: value
        for name, value in fit.result.options.items()
        if name in (*OPTIONS[fit.method], "seed") and _is_plain(value)
    }
    if fit.method == "mle":
        asked = {"cov": "nonrobust", "information": "expected", "cluster": None, "ci": "wald"}
        options |= {
            n: fit.errors[n] for n, usual in asked.items() if fit.errors.get(n, usual) != usual
        }
    return repr(fit.method) + _written(options)


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool))


def _written(words: Mapping[str, Any]) -> str:
    return "".join(f", {name}={value!r}" for name, value in words.items())


class _Name:
    """A value that stands for itself in code."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text
