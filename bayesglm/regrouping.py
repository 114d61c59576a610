"""Grouping factors and smooth terms read back from a file: formulas pass the allow-list here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.errors import StorageError, explain
from bayesglm.formulas import split
from bayesglm.group_priors import GroupPrior
from bayesglm.grouping import Effects, Grouping, GroupRows, Groups, split_groups
from bayesglm.serialize import encoding_from_json, level_from_json, prior_from_json
from bayesglm.smoothing import Smooth, splines

if TYPE_CHECKING:
    from bayesglm.design import Design
    from bayesglm.spec import Spec

__all__ = ["group_priors", "with_groups", "with_smooths"]


def with_groups(design: Design, spec: Spec, told: Sequence[Mapping[str, Any]]) -> Design:
    """Return a design with the groups that `serialize.grouping_to_json` described.

    Raises
    ------
    StorageError
        If they are not those of the formula.
    """
    if design.formula is None:
        if told:
            raise StorageError(explain("the file is damaged: groups without a formula"))
        return design
    context = dict(design.context or {})
    known = sorted({name for each in told for name in _names(each)})
    known = known if design.frame is None else [str(name) for name in design.frame.columns]
    taken = {name for name in (spec.trials, spec.weights, spec.offset) if name is not None}
    asked = split_groups(design.formula, known, context, taken)
    if [list(each.factor) for each in asked] != [each["factor"] for each in told]:
        raise StorageError(explain("the file is damaged: its groups are not those of the formula"))
    found = []
    for words, groups in zip(told, asked, strict=True):
        effects = []
        for each, own in zip(words["effects"], groups.effects, strict=True):
            formula = own.formula
            if each["right"] != formula.right:
                text = f"{design.formula.left} ~ {each['right']}"
                formula = split(text, known, context=context, taken=taken)
            encoding = each["encoding"]
            encoding = None if encoding is None else encoding_from_json(encoding, formula.right)
            effects.append(Effects(formula, bool(each["correlated"]), encoding))
        bare = Grouping(
            Groups(groups.factor, tuple(effects)),
            tuple(tuple(level_from_json(value) for value in level) for level in words["levels"]),
            GroupRows(np.empty(0, dtype=np.int64), np.empty((0, len(words["scale"])))),
            np.array(words["scale"], float),
        )
        if len(bare.terms) != len(bare.scale):
            raise StorageError(explain("the file is damaged: effects and their sizes differ"))
        if design.frame is not None:
            bare = replace(bare, rows=bare.apply(design.frame, context))
        found.append(bare)
    return replace(design, groups=tuple(found))


def _names(told: Mapping[str, Any]) -> set[str]:
    encodings = [each["encoding"] for each in told["effects"] if each["encoding"] is not None]
    columns = {str(name) for encoding in encodings for name in encoding["columns"]}
    return columns | set(map(str, told["factor"]))


def with_smooths(design: Design, told: Sequence[Mapping[str, Any]]) -> Design:
    """Return a design with the smooth terms that `serialize.smooth_to_json` described.

    Raises
    ------
    StorageError
        If they are not those of the formula.
    """
    curves = () if design.formula is None else design.formula.curves
    if [curve.variable for curve in curves] != [words["variable"] for words in told]:
        raise StorageError(explain("the file is damaged: its smooths are not those of the formula"))
    found = []
    for curve, words in zip(curves, told, strict=True):
        text = splines(curve)
        encoding = encoding_from_json(words["encoding"], f"0 + {text}")
        basis, line = np.array(words["basis"], float), np.array(words["line"], float)
        if basis.shape != (curve.df, line.shape[1]) or len(line) != 2:
            raise StorageError(explain("the file is damaged: a smooth has another size", term=text))
        rows = GroupRows(np.empty(0, dtype=np.int64), np.empty((0, basis.shape[1])))
        bare = Smooth(curve.variable, encoding, basis, line, rows)
        if design.frame is not None:
            bare = replace(bare, rows=bare.apply(design.frame, design.context))
        found.append(bare)
    return replace(design, smooths=tuple(found))


def group_priors(
    design: Design, told: Sequence[Mapping[str, Any]], custom: Mapping[str, Any]
) -> tuple[GroupPrior, ...]:
    """Return the priors that `serialize.group_prior_to_json` described."""
    return tuple(
        GroupPrior(
            group.name,
            group.terms,
            tuple(prior_from_json(value, f"sd_{group.name}", custom) for value in words["sd"]),
            float(words["concentration"]),
            any(size > 1 for size in group.blocks),
            group.tied,
        )
        for group, words in zip(design.varying, told, strict=True)
    )
