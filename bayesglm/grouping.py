"""Groups and their effects: which group each row belongs to, and what varies between groups.

``(1 + x | g)`` gives every level of g an intercept and a slope of its own, drawn from one normal
distribution with correlations; ``(x || g)`` leaves the correlations out. All terms of one factor
are taken together: its levels are coded once, its effects stand in blocks that are correlated
within and independent of one another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.encoding import Encoding, learn
from bayesglm.errors import (
    DataError,
    Finding,
    FormulaError,
    SpecificationError,
    explain,
    suggest,
)
from bayesglm.formulas import Formula, split

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Effects",
    "GroupRows",
    "Grouping",
    "Groups",
    "NewGroups",
    "read_groups",
    "split_groups",
]

# Names that other variables of a posterior have.
TAKEN = (
    *("Intercept", "beta", "sigma", "df", "lapse", "y"),
    *("term", "obs", "chain", "draw", "coefficient"),
)
# What new groups may get.
NEW = ("error", "zero", "sample")
# Levels named in a message.
NAMED = 5


@dataclass(frozen=True)
class Effects:
    """What varies between groups by one term: its formula, and whether its effects correlate."""

    formula: Formula
    correlated: bool
    encoding: Encoding | None = None

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the effects, ``Intercept`` first where there is one."""
        if self.encoding is None:
            return ("Intercept",)
        return (("Intercept",) if self.encoding.intercept else ()) + self.encoding.terms

    def apply(self, frame: pd.DataFrame, context: Mapping[str, Any] | None) -> np.ndarray:
        """Return what multiplies the effects in each row, shape (n, q)."""
        ones = np.ones((len(frame), 1))
        if self.encoding is None:
            return ones
        found = self.encoding.apply(frame, context)
        dense = found if isinstance(found, np.ndarray) else found.toarray()
        return np.concatenate([ones, dense], axis=1) if self.encoding.intercept else dense


@dataclass(frozen=True)
class Groups:
    """The words of a grouping factor, before the data are read.

    Attributes
    ----------
    factor : tuple of str
        Columns whose combined levels are the groups.
    effects : tuple of Effects
    """

    factor: tuple[str, ...]
    effects: tuple[Effects, ...]

    @property
    def name(self) -> str:
        """What the factor is called: ``g``, or ``a:b``."""
        return ":".join(self.factor)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column needed, those of the factor first."""
        used = (name for each in self.effects for name in each.formula.right_columns)
        return tuple(dict.fromkeys((*self.factor, *used)))


@dataclass(frozen=True)
class NewGroups:
    """What groups get that were not there in training, and the seed of what is drawn."""

    kind: str = "error"
    seed: int = 0

    @classmethod
    def make(cls, kind: str, seed: int = 0) -> NewGroups:
        """Check the word.

        Raises
        ------
        SpecificationError
            If it is not known.
        """
        if kind not in NEW:
            raise SpecificationError(
                explain(
                    f"unknown new_groups{suggest(str(kind), NEW)}",
                    new_groups=kind,
                    advice="use one of " + ", ".join(map(repr, NEW)),
                )
            )
        return cls(kind, seed)


@dataclass(frozen=True)
class GroupRows:
    """Rows as a grouping factor sees them.

    Attributes
    ----------
    codes : ndarray of int, shape (n,)
        Group of each row; -1, -2, ... for groups that were not there in training.
    matrix : ndarray, shape (n, q)
        What multiplies the effects of the group.
    unseen : tuple of str
        Names of the groups with codes -1, -2, ...
    new : NewGroups
        What these get.
    """

    codes: np.ndarray
    matrix: np.ndarray
    unseen: tuple[str, ...] = ()
    new: NewGroups = NewGroups()

    def __getitem__(self, part: Any) -> GroupRows:
        return replace(self, codes=self.codes[part], matrix=self.matrix[part])


@dataclass(frozen=True)
class Grouping:
    """A grouping factor on the training rows.

    Attributes
    ----------
    groups : Groups
        Its words, with the encoding of its effects.
    levels : tuple of tuple
        Values of the factor's columns, one for each group.
    rows : GroupRows
        The training rows.
    scale : ndarray, shape (q,)
        Size of each column: its sd, the range of two values, 1 for a constant.
    """

    groups: Groups
    levels: tuple[tuple[Any, ...], ...]
    rows: GroupRows
    scale: np.ndarray

    @property
    def name(self) -> str:
        """What the factor is called."""
        return self.groups.name

    # Of a smooth term, which is kept as this is, all effects share one standard deviation.
    tied = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column needed."""
        return self.groups.columns

    @property
    def count(self) -> int:
        """Number of groups."""
        return len(self.levels)

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the effects."""
        return tuple(term for each in self.groups.effects for term in each.terms)

    @property
    def blocks(self) -> tuple[int, ...]:
        """Sizes of the blocks of effects that are correlated within."""
        found: list[int] = []
        for each in self.groups.effects:
            found += [len(each.terms)] if each.correlated else [1] * len(each.terms)
        return tuple(found)

    @property
    def size(self) -> int:
        """Number of effects, over all groups."""
        return len(self.levels) * len(self.terms)

    @property
    def parameters(self) -> int:
        """Number of standard deviations and correlations."""
        return len(self.terms) + sum(size * (size - 1) // 2 for size in self.blocks)

    @property
    def keys(self) -> list[np.ndarray]:
        """What rows must share to be one row to the factor."""
        varying = [values for values in self.rows.matrix.T if (values != values[0]).any()]
        return [self.rows.codes, *varying]

    @property
    def labels(self) -> list[str]:
        """Names of the groups, the parts of a nested one joined by a colon."""
        return [_label(level) for level in self.levels]

    def apply(
        self,
        frame: pd.DataFrame,
        context: Mapping[str, Any] | None,
        new: NewGroups | None = None,
    ) -> GroupRows:
        """Return rows as the factor sees them.

        Raises
        ------
        DataError
            For a new group, where these are an error.
        """
        policy = NewGroups() if new is None else new
        place = {level: code for code, level in enumerate(self.levels)}
        # By equality, so that 2.0 is the group 2.
        given, seen = _coded(frame, self.groups.factor)
        unseen = [level for level in seen if level not in place]
        names = tuple(map(_label, unseen))
        if unseen and policy.kind == "error":
            raise DataError(
                explain(
                    f"groups of {self.name} were not there in training",
                    levels=list(names[:NAMED]),
                    advice='use new_groups="sample" (drawn from their distribution), "zero" (a '
                    "middling group), or groups=None (no group at all)",
                )
            )
        table = {level: -1 - k for k, level in enumerate(unseen)} | place
        codes = np.array([table[level] for level in seen], dtype=np.int64)[given]
        return GroupRows(codes, _effects(self.groups, frame, context), names, policy)

    def findings(self, weights: np.ndarray) -> tuple[Finding, ...]:
        """Return what is odd about the groups of the rows with weight > 0."""
        live = np.bincount(self.rows.codes[weights > 0], minlength=len(self.levels))
        q, few = len(self.terms), int((live < len(self.terms)).sum())
        if q < 2 or 2 * few <= len(self.levels):
            return ()
        return (
            Finding(
                "group-rows",
                "warning",
                f"{few:,} of {len(self.levels):,} groups of {self.name} have fewer rows than the "
                f"{q} effects that vary between them, so that their effects rest on the other "
                "groups, and the correlations on little.",
                value=float(few),
                threshold=len(self.levels) / 2,
                where=self.name,
                advice=f"Let fewer effects vary, such as (1 | {self.name}).",
            ),
        )


def _label(level: tuple[Any, ...]) -> str:
    return ":".join(str(value) for value in level)


def _coded(frame: pd.DataFrame, factor: Sequence[str]) -> tuple[np.ndarray, list[tuple[Any, ...]]]:
    """Return each row's number, and the levels so numbered, in order where they have one."""
    import pandas as pd

    parts, levels = [], []
    for name in factor:
        known: Any
        values = frame[name]
        if isinstance(values.dtype, pd.CategoricalDtype):
            values = values.cat.remove_unused_categories()
            codes, known = values.cat.codes.to_numpy(), list(values.cat.categories)
        else:
            try:
                codes, known = pd.factorize(values, sort=True)
            except TypeError:
                # Mixed kinds have no order; what cannot be hashed is no group.
                codes, known = _unsorted(values, name)
        parts.append(np.asarray(codes, dtype=np.int64))
        levels.append([v.item() if isinstance(v, np.generic) else v for v in list(known)])
    whole = parts[0]
    for codes, known in zip(parts[1:], levels[1:], strict=True):
        whole = whole * len(known) + codes
    kept, rows = np.unique(whole, return_inverse=True)
    found = []
    for number in kept.tolist():
        level: list[Any] = []
        for known in reversed(levels):
            number, place = divmod(number, len(known))
            level.append(known[place])
        found.append(tuple(reversed(level)))
    return rows.ravel(), found


def _unsorted(values: pd.Series, name: str) -> tuple[Any, Any]:
    import pandas as pd

    try:
        return pd.factorize(values)
    except TypeError as error:
        raise DataError(
            explain(
                f"the column {name!r} of a group-level term must hold single values",
                type=type(values.iloc[0]).__name__,
            )
        ) from error


def _effects(groups: Groups, frame: pd.DataFrame, context: Any) -> np.ndarray:
    return np.concatenate([each.apply(frame, context) for each in groups.effects], axis=1)


def split_groups(
    model: Formula, known: Sequence[str], context: Mapping[str, Any], taken: set[str]
) -> tuple[Groups, ...]:
    """Check the group-level terms of a formula; those of one factor are taken together.

    Raises
    ------
    FormulaError
        For an offset among the effects, the outcome as a factor, an effect that is there twice.
    """
    found: dict[tuple[str, ...], list[Effects]] = {}
    for bar in model.bars:
        formula = split(f"{model.left} ~ {bar.effects}", list(known), context=context, taken=taken)
        bare = not formula.right_columns and formula.right != "1"
        if formula.offsets or formula.bars or formula.curves or bare:
            raise FormulaError(
                explain(
                    "the effects of a group-level term are plain terms, at least one",
                    effects=bar.effects,
                    advice="write (1 | g) for an intercept of each group",
                )
            )
        if set(bar.factor) & set(model.left_columns):
            raise FormulaError(
                explain("the outcome cannot be a group", group=bar.factor, formula=model.text)
            )
        found.setdefault(bar.factor, []).append(Effects(formula, bar.correlated))
    together = tuple(Groups(factor, tuple(effects)) for factor, effects in found.items())
    for groups in together:
        if groups.name in TAKEN or "/" in groups.name:
            raise FormulaError(
                explain(
                    "this name cannot be that of a group, as other things bear it",
                    group=groups.name,
                    advice="rename the column",
                )
            )
    return together


def read_groups(
    groups: Groups, frame: pd.DataFrame, live: np.ndarray, context: Mapping[str, Any]
) -> Grouping:
    """Code the groups of the training rows, and encode what varies between them.

    Parameters
    ----------
    groups : Groups
    frame : DataFrame
        The rows kept.
    live : ndarray of bool, shape (n,)
        Rows of weight > 0, from which encodings are learned.
    context : mapping
        The user's own functions.

    Raises
    ------
    DataError
        For a factor with one level, or an effect that is there twice.
    """
    codes, levels = _coded(frame, groups.factor)
    if len(set(codes[live].tolist())) < 2:
        raise DataError(
            explain(
                f"the factor {groups.name} has one level only, so that nothing varies between its "
                "groups",
                level=_label(levels[0]),
                advice="leave the group-level term out",
            )
        )
    effects = tuple(_learned(each, frame[live], context) for each in groups.effects)
    groups = replace(groups, effects=effects)
    terms = [term for each in effects for term in each.terms]
    twice = [term for term in terms if terms.count(term) > 1]
    if twice:
        raise DataError(
            explain(
                f"the effect {twice[0]} of {groups.name} is there twice",
                advice=f"write it once, as in (1 + x | {groups.name}); 0 + leaves the intercept out",
            )
        )
    matrix = _effects(groups, frame, context)
    if not np.isfinite(matrix).all():
        raise DataError(
            explain(f"an effect of {groups.name} has values that are not finite", terms=terms)
        )
    return Grouping(groups, tuple(levels), GroupRows(codes, matrix), _sizes(matrix[live]))


def _learned(effects: Effects, frame: pd.DataFrame, context: Mapping[str, Any]) -> Effects:
    if not effects.formula.right_columns:
        return effects
    encoding, _, _ = learn(effects.formula, frame[list(effects.formula.right_columns)], context)
    return replace(effects, encoding=encoding)


def _sizes(matrix: np.ndarray) -> np.ndarray:
    found = []
    for values in matrix.T:
        lower, upper = values.min(), values.max()
        two = bool(((values == lower) | (values == upper)).all())
        found.append(1.0 if lower == upper else upper - lower if two else values.std())
    return np.array(found)
