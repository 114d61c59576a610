"""Runs that were stopped go on where they were."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bayesglm import processes
from bayesglm.errors import BayesGLMWarning, Finding, StorageError, explain
from bayesglm.fitting import fit_model, versions
from bayesglm.inference.checkpoint import read
from bayesglm.packing import unpack
from bayesglm.shards import as_mesh

if TYPE_CHECKING:
    from bayesglm.fit import Fit

__all__ = ["resume"]


def resume(
    path: Any,
    custom: Mapping[str, Any] | None = None,
    *,
    mesh: Any = None,
    progress: bool | None = None,
) -> Fit:
    """Go on with a run of ``model.fit("nuts", checkpoint=path)`` that was stopped.

    On the same machine, with the same versions and number of threads, the draws are those of a run
    that was never stopped, bit by bit. The file is written to again while the run goes on; a run
    that had ended is read.

    Parameters
    ----------
    path : str or Path
        The checkpoint.
    custom : mapping, optional
        Links, modules and functions of your own by their names, as for `bayesglm.load`.
    mesh : Mesh, int or "auto", optional
        The devices, as for `bayesglm.Model.fit`; of several processes each reads its own file. On
        others than before the draws are as good, but not the same.
    progress : bool, optional
        Show a progress bar; by default on a terminal and in a notebook.

    Returns
    -------
    Fit

    Raises
    ------
    StorageError
        If the file is missing, damaged, or needs something in ``custom``.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import bayesglm as bg
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "run.npz"
    >>> model = bg.Model("damage ~ temperature", bg.datasets.challenger())
    >>> fit = model.fit("nuts", seed=1, checkpoint=path)
    >>> bool((bg.resume(path).coef == fit.coef).all())
    True
    """
    over = as_mesh(mesh)
    checkpoint = read(processes.own_path(path) if processes.several(over) else path)
    told = checkpoint.told
    try:
        model, options, seed = checkpoint.head["model"], dict(told["options"]), int(told["seed"])
        before = dict(told["versions"])
    except (LookupError, TypeError, ValueError) as error:
        raise StorageError(
            explain("the file is damaged, or no checkpoint of bayesglm", path=str(path))
        ) from error
    spec, design, priors = unpack(model, custom or {})
    fit = fit_model(
        spec,
        design,
        priors,
        "nuts",
        options | {"mesh": over},
        seed=seed,
        progress=progress,
        checkpoint=checkpoint,
    )
    now = versions()
    changed = [f"{n} {before.get(n)} -> {now[n]}" for n in now if before.get(n) != now[n]]
    if changed:
        note = Finding(
            "other-versions",
            "note",
            f"The run went on with other versions ({', '.join(changed)}): its draws are as good, "
            "but not those of an uninterrupted run.",
        )
        fit = replace(fit, result=replace(fit.result, findings=(*fit.result.findings, note)))
    loud = [str(finding) for finding in fit.findings if finding.severity != "note"]
    if loud:
        warnings.warn("\n".join(loud), BayesGLMWarning, stacklevel=2)
    return fit
