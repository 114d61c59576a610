"""Who takes part: a name, the environment it runs in, and how it fits.

Each contestant is a function ``load(**options) -> (fit, read)``: ``load`` imports (its own time),
``fit(X, y)`` is what is timed, ``read(result)`` gives its numbers in a common form, untimed:
``{"draws": array (chains, draws, k)}`` or ``{"coef": array (k,), "se": array (k,)}``, intercept
first. Imports stand inside the functions because no environment has all of the libraries.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CONTESTANTS", "Contestant"]


class Contestant(NamedTuple):
    """Where a contestant lives: the environment, the module here, the function, its options."""

    environment: str
    module: str
    function: str
    options: dict[str, object]
    packages: tuple[str, ...]


OWN = ("bayesglm", "jax", "numpyro", "numpy")
CONTESTANTS: dict[str, Contestant] = {
    "bayesglm nuts": Contestant("own", "own", "draws", {"method": "nuts"}, OWN),
    "bayesglm laplace": Contestant("own", "own", "draws", {"method": "laplace"}, OWN),
    "bayesglm mle": Contestant("own", "own", "mle", {}, OWN),
    "bayesglm groups mle": Contestant("own", "own", "grouped", {"method": "mle"}, OWN),
    "bayesglm groups nuts": Contestant("own", "own", "grouped", {"method": "nuts"}, OWN),
    "bayesglm many": Contestant("own", "own", "many", {}, OWN),
    "statsmodels loop": Contestant("own", "maximum", "loop", {}, ("statsmodels", "pandas")),
    "statsmodels loop, arrays": Contestant(
        "own", "maximum", "loop", {"arrays": True}, ("statsmodels", "numpy")
    ),
    "bambi groups": Contestant("peers", "samplers", "grouped", {}, ("bambi", "pymc")),
    "bambi groups nutpie": Contestant(
        "peers", "samplers", "grouped", {"method": "nutpie"}, ("bambi", "nutpie")
    ),
    "numpyro": Contestant("peers", "samplers", "numpyro", {}, ("numpyro", "jax")),
    "numpyro float64": Contestant(
        "peers", "samplers", "numpyro", {"x64": True}, ("numpyro", "jax")
    ),
    "pymc nutpie": Contestant(
        "peers", "samplers", "nutpie", {}, ("pymc", "nutpie", "numba", "pytensor")
    ),
    "pymc nutpie low_rank": Contestant(
        "peers", "samplers", "nutpie", {"adaptation": "low_rank"}, ("pymc", "nutpie", "numba")
    ),
    "bambi": Contestant("peers", "samplers", "bambi", {}, ("bambi", "pymc")),
    "blackjax": Contestant("peers", "samplers", "blackjax", {}, ("blackjax", "jax")),
    "blackjax float64": Contestant(
        "peers", "samplers", "blackjax", {"x64": True}, ("blackjax", "jax")
    ),
    "statsmodels Logit": Contestant("peers", "maximum", "logit", {}, ("statsmodels", "numpy")),
    "statsmodels GLM": Contestant("peers", "maximum", "glm", {}, ("statsmodels", "numpy")),
    "scikit-learn lbfgs": Contestant(
        "peers", "maximum", "sklearn", {"solver": "lbfgs"}, ("scikit-learn",)
    ),
    "scikit-learn newton-cholesky": Contestant(
        "peers", "maximum", "sklearn", {"solver": "newton-cholesky"}, ("scikit-learn",)
    ),
    "glum": Contestant("peers", "maximum", "glum", {}, ("glum", "tabmat")),
}
