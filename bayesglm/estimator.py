"""The scikit-learn door: a classifier for pipelines and searches (extra ``bayesglm[sklearn]``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import (
    check_consistent_length,
    check_random_state,
    column_or_1d,
    compute_sample_weight,
)
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from bayesglm.errors import DataError, SpecificationError, explain
from bayesglm.model import Model

if TYPE_CHECKING:
    from bayesglm.fit import Fit

__all__ = ["BayesGLMClassifier"]

OUTCOME = "outcome"


class BayesGLMClassifier(ClassifierMixin, BaseEstimator):
    """Classify yes/no outcomes by a `bayesglm.Model`, in scikit-learn's manner.

    Parameters
    ----------
    formula : str, optional
        The right side, such as ``"~ age + C(region) * income"``, for X with named columns (pandas,
        polars, pyarrow). All columns of a numeric X, as they are, if absent.
    method : {"laplace", "nuts", "auto", "svi", "map", "mle"}
        As of `Model.fit`. With draws, probabilities are posterior means.
    link, lapse, prior
        As of `Model`.
    class_weight : dict or "balanced", optional
        Weights of the classes; they multiply ``sample_weight``, and count as sampling weights.
    weights_kind : {"frequency", "sampling"}
        What ``sample_weight`` means; see `Model`.
    fit_intercept : bool
        Add a constant (without a formula).
    add : sequence of Network
        Predictors beside the linear part (with a formula).
    options : dict, optional
        Further options of `Model.fit`, such as ``{"draws": 500}``.
    random_state : int, RandomState or None
        Fixes everything random.

    Attributes
    ----------
    classes_ : ndarray, shape (2,)
        The second is the event.
    fit_ : Fit
        What `Model.fit` returned: ``bg.slopes(classifier.fit_)``, ``classifier.fit_.summary()``.
    coef_ : ndarray, shape (1, p)
        Estimates (posterior means), link scale.
    intercept_ : ndarray, shape (1,)
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.

    Raises
    ------
    ValueError
        Of scikit-learn's wording for X and y that it would refuse too; the package's errors are
        ValueErrors as well.

    Examples
    --------
    >>> import bayesglm as bg
    >>> from bayesglm.estimator import BayesGLMClassifier
    >>> launches = bg.datasets.challenger()
    >>> X, y = launches[["temperature"]], launches["damage"]
    >>> classifier = BayesGLMClassifier(method="map").fit(X, y)
    >>> classifier.predict_proba(X.head(1)).round(2)
    array([[0.56, 0.44]])
    """

    classes_: np.ndarray
    fit_: Fit
    coef_: np.ndarray
    intercept_: np.ndarray

    def __init__(
        self,
        formula: str | None = None,
        *,
        method: str = "laplace",
        link: Any = "logit",
        lapse: bool = False,
        prior: Any = "weak",
        class_weight: Any = None,
        weights_kind: str = "frequency",
        fit_intercept: bool = True,
        add: Sequence[Any] = (),
        options: Mapping[str, Any] | None = None,
        random_state: Any = 0,
    ) -> None:
        self.formula = formula
        self.method = method
        self.link = link
        self.lapse = lapse
        self.prior = prior
        self.class_weight = class_weight
        self.weights_kind = weights_kind
        self.fit_intercept = fit_intercept
        self.add = add
        self.options = options
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn should know: two classes, sparse X without a formula."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.sparse = self.formula is None
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> BayesGLMClassifier:
        """Fit the model.

        Parameters
        ----------
        X : array, sparse array or DataFrame, shape (n, p)
        y : array, shape (n,)
            Two classes.
        sample_weight : array, shape (n,), optional
            See ``weights_kind``.

        Returns
        -------
        BayesGLMClassifier
            Itself.
        """
        X, y = self._validated(X, y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError(
                explain("y has one class only, a classifier needs two", classes=list(self.classes_))
            )
        weights = self._weights(X, y, sample_weight)
        kind = "sampling" if self.class_weight is not None else self.weights_kind
        words: dict[str, Any] = {"link": self.link, "lapse": self.lapse, "prior": self.prior}
        if weights is not None:
            words |= {"weights": weights, "weights_kind": kind}
        model = self._model(X, codes, words)
        generator = check_random_state(self.random_state)
        seed = int(generator.randint(2**31 - 1))
        self.fit_ = model.fit(self.method, seed=seed, progress=False, **(self.options or {}))
        theta = self.fit_.coef.to_numpy()
        first = int(self.fit_.design.intercept)
        self.coef_ = theta[None, first:]
        self.intercept_ = theta[:first] if first else np.zeros(1)
        return self

    def _validated(self, X: Any, y: Any) -> tuple[Any, np.ndarray]:
        if self.formula is None:
            if self.add:
                raise SpecificationError(
                    explain("add= needs a formula", advice='use formula="~ ..." beside it')
                )
            X, y = validate_data(self, X, y, accept_sparse="csc", dtype=np.float64)
        else:
            # Names and kinds of columns are the formula's matter; y is checked as always.
            validate_data(self, X, skip_check_array=True)
            y = column_or_1d(y, warn=True)
            check_consistent_length(X, y)
        check_classification_targets(y)
        if len(np.unique(y)) > 2:
            raise DataError(
                "Only binary classification is supported. The type of the target is "
                f"{type_of_target(y)}."
            )
        return X, y

    def _weights(self, X: Any, y: np.ndarray, sample_weight: Any) -> np.ndarray | None:
        if sample_weight is None and self.class_weight is None:
            return None
        rows = np.empty((len(y), 1))
        weights = _check_sample_weight(sample_weight, rows, dtype=np.float64)
        if self.class_weight is not None:
            weights = weights * compute_sample_weight(self.class_weight, y)
        return np.asarray(weights)

    def _model(self, X: Any, codes: np.ndarray, words: dict[str, Any]) -> Model:
        if self.formula is None:
            names = list(getattr(self, "feature_names_in_", [])) or None
            return Model.from_arrays(X, codes, names=names, intercept=self.fit_intercept, **words)
        right = self.formula.strip()
        if not right.startswith("~"):
            raise SpecificationError(
                explain(
                    "the formula of a classifier is the right side alone",
                    formula=self.formula,
                    advice='write it as "~ x1 + x2"; the outcome is y',
                )
            )
        frame = nw.from_native(X, eager_only=True)
        if OUTCOME in frame.columns:
            raise DataError(
                explain("a column has the name of the outcome", column=OUTCOME, advice="rename it")
            )
        outcome = nw.new_series(OUTCOME, codes, backend=frame.implementation)
        table = frame.with_columns(outcome).to_native()
        return Model(f"{OUTCOME} {right}", table, add=tuple(self.add), **words)

    def _rows(self, X: Any) -> Any:
        check_is_fitted(self)
        if self.formula is None:
            return validate_data(self, X, accept_sparse="csc", dtype=np.float64, reset=False)
        validate_data(self, X, skip_check_array=True, reset=False)
        return X

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities of the classes (posterior means, with draws).

        Parameters
        ----------
        X : array, sparse array or DataFrame, shape (n, p)

        Returns
        -------
        ndarray, shape (n, 2)
            In the order of ``classes_``.
        """
        rows = self._rows(X)
        p = self.fit_.predict(rows)
        return np.column_stack([1 - p, p])

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X)))

    def predict(self, X: Any) -> np.ndarray:
        """Return the more probable class of each row.

        Parameters
        ----------
        X : array, sparse array or DataFrame, shape (n, p)

        Returns
        -------
        ndarray, shape (n,)
        """
        p = self.predict_proba(X)
        return np.asarray(self.classes_[(p[:, 1] > p[:, 0]).astype(int)])

    def predict_interval(
        self, X: Any, level: float = 0.95
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the probability of the second class with its interval.

        Parameters
        ----------
        X : array, sparse array or DataFrame, shape (n, p)
        level : float
            Coverage.

        Returns
        -------
        estimate, lower, upper : ndarray, shape (n,)
            As of `Fit.predict_interval`.

        Examples
        --------
        >>> import bayesglm as bg
        >>> from bayesglm.estimator import BayesGLMClassifier
        >>> launches = bg.datasets.challenger()
        >>> X, y = launches[["temperature"]], launches["damage"]
        >>> found = BayesGLMClassifier(method="mle").fit(X, y).predict_interval(X.head(1))
        >>> [float(end[0].round(2)) for end in found]
        [0.43, 0.19, 0.71]
        """
        rows = self._rows(X)
        return self.fit_.predict_interval(rows, level)
