"""The house: floors, small files, names, lazy imports, and an import that changes nothing.

The table below is the picture of the package. A new file gets its line here first.
"""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "bayesglm"
MAX_LINES = 450

# Floor of each module. A name ending in "/" stands for every file of that folder.
FLOORS = {
    # 0 words
    "errors": 0,
    "precision": 0,
    "files": 0,
    "processes": 0,
    # 1 mathematics
    "link_functions": 1,
    "link_quantiles": 1,
    "link": 1,
    "shaped": 1,
    "links": 1,
    "families": 1,
    "matrices": 1,
    "recession": 1,
    "student_t_tails": 1,
    # 2 data
    "priors": 2,
    "presets": 2,
    "shape_priors": 2,
    "networks": 2,
    "spec": 2,
    "frames": 2,
    "expressions": 2,
    "arithmetic": 2,
    "formulas": 2,
    "grouping": 2,
    "group_priors": 2,
    "smoothing": 2,
    "encoding": 2,
    "materials": 2,
    "outcome": 2,
    "columns": 2,
    "merging": 2,
    "rows": 2,
    "inputs": 2,
    "design": 2,
    "arrays": 2,
    "newdata": 2,
    "datasets": 2,
    "segments": 2,
    "streaming/": 2,
    # 3 predictors
    "predictors": 3,
    "neural": 3,
    "grouped": 3,
    # 4 the model, written once
    "generative": 4,
    "shards": 4,
    # 5 inference
    "inference/": 5,
    # 6 what came out
    "implied": 6,
    "tables": 6,
    "estimates": 6,
    "group_effects": 6,
    "regrouping": 6,
    "datatree": 6,
    "requested": 6,
    "predicting": 6,
    "link_shapes": 6,
    "input_effects": 6,
    "intervals": 6,
    "standard_errors": 6,
    "canvas": 6,
    "summaries": 6,
    "printing": 6,
    "serialize": 6,
    "storage": 6,
    "fit": 6,
    "loading": 6,
    "packing": 6,
    "progress": 6,
    "streamed_target": 6,
    # 7 questions
    "convergence": 7,
    "separation": 7,
    "sensitivity": 7,
    "findings": 7,
    "uniformity": 7,
    "replications": 7,
    "calibration": 7,
    "effects/": 7,
    "scoring": 7,
    "scoring_streamed": 7,
    "refitting": 7,
    "resampling": 7,
    "pointwise": 7,
    "loocv": 7,
    "comparing": 7,
    "checking": 7,
    # 8 the noun users hold
    "fitting": 8,
    "fitting_streamed": 8,
    "resuming": 8,
    "comparing_links": 8,
    "many": 8,
    "many_fits": 8,
    "segmenting": 8,
    "screening": 8,
    "settling": 8,
    "agreeing": 7,
    "model": 8,
    # 9 showing
    "plots/": 9,
    "reporting/": 9,
    # 10 doors
    "caching": 10,
    "connecting": 10,
    "estimator": 10,
    "cli": 10,
    "__main__": 10,
    "__init__": 10,
}

# Imports between files of one floor. Keys and values are modules or folders.
SIDEWAYS = {
    "precision": {"errors"},
    "link": {"link_functions", "link_quantiles"},
    "shaped": {"link", "student_t_tails"},
    "links": {"link", "link_functions", "link_quantiles", "shaped"},
    "families": {"link", "shaped"},
    "processes": {"errors"},
    "presets": {"priors"},
    "columns": {"priors"},
    "priors": {"merging", "group_priors"},
    "arithmetic": {"expressions"},
    "formulas": {"expressions"},
    "encoding": {"materials", "formulas", "expressions"},
    "outcome": {"spec", "frames", "expressions", "arithmetic"},
    "rows": {"spec", "frames", "arithmetic", "formulas", "priors"},
    "design": {
        *("spec", "frames", "expressions", "formulas", "encoding", "outcome", "columns", "rows"),
        *("priors", "inputs", "merging", "grouping", "smoothing"),
    },
    "arrays": {"design", "frames", "spec", "outcome", "columns", "rows", "merging"},
    "inputs": {"encoding", "formulas", "priors"},
    "grouping": {"encoding", "formulas"},
    "group_priors": {"grouping", "smoothing"},
    "smoothing": {"encoding", "formulas", "grouping"},
    "newdata": {"frames", "rows", "design", "merging", "grouping"},
    "segments": {"frames", "merging"},
    "streaming/": {
        *("arithmetic", "design", "encoding", "expressions", "formulas", "frames", "grouping"),
        *("inputs", "outcome", "priors", "rows", "spec"),
    },
    "neural": {"predictors"},
    "shards": {"generative"},
    "grouped": {"predictors"},
    "spec": {"networks"},
    "predicting": {"group_effects", "link_shapes"},
    "link_shapes": {"tables"},
    "group_effects": {"tables"},
    "regrouping": {"serialize"},
    "input_effects": {"predicting"},
    "intervals": {"implied"},
    "summaries": {"tables", "input_effects", "intervals", "group_effects", "link_shapes"},
    "storage": {"serialize", "implied", "regrouping"},
    "fit": {
        *("tables", "datatree", "requested", "predicting", "printing", "storage", "summaries"),
        *("implied", "standard_errors", "estimates", "group_effects"),
    },
    "loading": {"fit", "storage"},
    "streamed_target": {"implied", "progress"},
    "standard_errors": {"streamed_target"},
    "requested": {"datatree"},
    "printing": {"tables", "intervals"},
    "packing": {"datatree", "storage"},
    "findings": {"separation", "sensitivity"},
    "calibration": {"replications", "uniformity"},
    "scoring": {"effects/", "scoring_streamed"},
    "pointwise": {"effects/"},
    "resampling": {"pointwise", "refitting", "scoring"},
    "loocv": {"pointwise", "refitting"},
    "comparing": {"loocv", "resampling"},
    "checking": {"effects/", "loocv", "resampling", "scoring"},
    "comparing_links": {"fitting"},
    "many": {"screening", "segmenting", "settling", "many_fits"},
    "many_fits": {"model"},
    "segmenting": {"many_fits", "settling"},
    "screening": {"fitting", "many_fits", "segmenting", "settling"},
    "reporting/": {"plots/"},
    "fitting": {"fitting_streamed"},
    "model": {"fitting"},
    "resuming": {"fitting"},
    "__main__": {"cli"},
    "cli": {"caching"},
    "__init__": {"caching", "connecting"},
}
# Helpers of a noun name its class in their annotations, and only there.
ANNOTATIONS = {
    name: {"fit"}
    for name in (
        *("predicting", "printing", "requested", "input_effects", "intervals", "summaries"),
        *("datatree", "standard_errors", "group_effects", "link_shapes"),
    )
}
# A question that is asked of a model before there is a fit.
ANNOTATIONS |= {
    "checking": {"model"},
    "comparing_links": {"model"},
    "effects.representative": {"model"},
    "findings": {"model"},
    "calibration": {"model"},
    "replications": {"model"},
}

# Who may import whom inside a folder of siblings: all may use these, and these may use all.
SHARED = {
    "inference": {
        "target",
        "aliasing",
        "result",
        "coordinates",
        "rowwise",
        "sharding",
        "newton",
        "evaluation",
        "importance",
        "checkpoint",
        "stacked",
        "batched",
    },
    "streaming": {"source", "streamed"},
    "effects": {
        "answers",
        "drawing",
        "rows",
        "engine",
        "encodings",
        "contrasts",
        "marginal",
        "questions",
        "streamed",
    },
    "plots": {"forest"},
    "reporting": {"blocks", "pictures", "words"},
}
GATHERING = {
    "inference": {"run", "posterior", "__init__"},
    "streaming": {"building", "__init__"},
    "effects": {"slope", "__init__"},
    "plots": {"__init__"},
    "reporting": {"document", "__init__"},
}
# The words of the options are those that these two understand.
SIBLINGS = {
    "inference.screened": {"inference.segmented"},
    "inference.weighed": {"inference.segmented"},
    "inference.marginal": {"inference.bordered"},
    "inference.multilevel": {
        *("inference.covariance", "inference.marginal", "inference.mode", "inference.starting"),
        "inference.verdicts",
    },
    "inference.hierarchical": {
        *("inference.bordered", "inference.marginal", "inference.multilevel"),
    },
    "inference.kernel": {"inference.hierarchical"},
    "inference.laplace": {"inference.hierarchical"},
    "inference.chains": {"inference.kernel"},
    "inference.nuts": {"inference.kernel", "inference.chains"},
    "inference.verdicts": {"inference.nuts"},
    "inference.mode": {"inference.optimize", "inference.shape", "inference.starting"},
    "inference.shape": {"inference.covariance", "inference.starting"},
    "inference.bias_reduction": {"inference.ascent", "inference.starting"},
    "inference.passes": {"inference.covariance"},
    "inference.streamed": {"inference.passes"},
    "inference.streamed_errors": {"inference.covariance", "inference.passes"},
    "inference.streamed_laplace": {
        *("inference.kernel", "inference.passes", "inference.streamed", "inference.verdicts"),
    },
    "streaming.streamed": {"streaming.reader"},
    "streaming.learning": {
        *("streaming.compress", "streaming.moments", "streaming.reader", "streaming.sampling"),
        "streaming.states",
    },
    "inference.profile": {"inference.ascent"},
    "inference.local": {"inference.optimize", "inference.starting", "inference.training"},
    "inference.options": {
        *("inference.bias_reduction", "inference.covariance", "inference.local", "inference.nuts"),
        *("inference.optimize", "inference.training", "inference.variational"),
    },
}

# Loaded only by the functions that need them.
HEAVY = {
    *(
        "IPython",
        "arviz",
        "arviz_base",
        "arviz_plots",
        "arviz_stats",
        "flax",
        "formulaic",
        "h5netcdf",
    ),
    *("jinja2", "matplotlib", "narwhals", "pandas", "polars", "pyarrow", "rich", "scipy"),
    *("sklearn", "statsmodels", "tqdm", "typer", "xarray"),
}
# The command line is a door of its own: nothing imports it but its entry point.
# So is the one of scikit-learn, whose classes are inherited from.
EAGER = {"cli": {"rich", "typer"}, "estimator": {"narwhals", "sklearn"}}

# Names that users call. A module of that name would be overwritten, or would overwrite, in `bg.`.
PUBLIC_FUNCTIONS = {
    *("report", "load", "loo", "compare", "grid", "resume", "cache", "diagnose", "scores"),
    *("slopes", "predictions", "comparisons"),
}

FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
every_module = pytest.mark.parametrize("module", MODULES)


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def entry(module: str) -> str:
    """Return the line of the table that speaks of a module."""
    folder, dot, _ = module.partition(".")
    line = f"{folder}/" if dot else module
    assert line in FLOORS, f"{module} is unknown: give it a floor in {Path(__file__).name}"
    return line


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def imports(nodes: list[ast.stmt] | ast.Module, types: bool, functions: bool) -> set[str]:
    """Return the dotted names imported, with or without those for annotations and in functions."""
    found: set[str] = set()
    for node in nodes.body if isinstance(nodes, ast.Module) else nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            found |= {f"{base}.{alias.name}" for alias in node.names}
        elif is_type_checking(node) and not types:
            found |= imports(node.orelse, types, functions)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not functions:
            continue
        else:
            for inner in ("body", "orelse", "finalbody"):
                found |= imports(getattr(node, inner, []), types, functions)
            for part in [*getattr(node, "handlers", []), *getattr(node, "cases", [])]:
                found |= imports(part.body, types, functions)
    return found


def own_modules(names: set[str]) -> set[str]:
    """Return which of this package's modules stand behind the imported names."""
    found = set()
    for name in names:
        package, _, rest = name.partition(".")
        if package != "bayesglm":
            continue
        parts = rest.split(".") if rest else []
        # The last part may be a name inside the module; the others are files and folders.
        for stop in (len(parts), max(len(parts) - 1, 0)):
            candidate = ".".join(parts[:stop])
            if candidate in MODULES:
                found.add(candidate)
                break
            if f"{candidate}.__init__".lstrip(".") in MODULES:
                found.add(f"{candidate}.__init__".lstrip("."))
                break
        else:
            pytest.fail(f"no such module: {name}")
    return found


def allowed(module: str, target: str) -> bool:
    """Say whether one module may import another."""
    here, there = entry(module), entry(target)
    if FLOORS[there] != FLOORS[here]:
        return FLOORS[there] < FLOORS[here]
    if here != there:
        # A file may name a folder of its own floor only if the table says so.
        return there in SIDEWAYS.get(here, set())
    folder, file = module.split(".", 1)
    sibling = target.split(".", 1)[1]
    return (
        sibling in SHARED[folder]
        or file in GATHERING[folder]
        or target in SIBLINGS.get(module, set())
    )


@every_module
def test_module_has_a_floor(module):
    assert 0 <= FLOORS[entry(module)] <= 10


@every_module
def test_imports_go_down(module):
    # Imports for annotations count too: they say what a file knows about.
    targets = own_modules(imports(tree(module), types=True, functions=True))
    if module in ANNOTATIONS:
        running = own_modules(imports(tree(module), types=False, functions=True))
        targets -= ANNOTATIONS[module] - running
    wrong = sorted(t for t in targets if t != module and not allowed(module, t))
    assert not wrong, f"{module} may not import {wrong}"


def test_floors_have_no_cycles():
    graph = {
        module: own_modules(imports(tree(module), types=False, functions=True)) - {module}
        for module in MODULES
    }
    done: set[str] = set()
    while ready := {m for m in graph if m not in done and graph[m] <= done}:
        done |= ready
    assert not set(graph) - done, f"import cycle among {sorted(set(graph) - done)}"


@every_module
def test_no_import_inside_a_function_of_the_package_itself(module):
    outside = imports(tree(module), types=False, functions=False)
    everywhere = imports(tree(module), types=False, functions=True)
    assert not own_modules(everywhere - outside), "a late import hides a cycle: move the code"


@every_module
def test_imports_are_absolute(module):
    names = imports(tree(module), types=True, functions=True)
    assert not [name for name in names if name.startswith(".")]


@every_module
def test_heavy_libraries_are_imported_late(module):
    tops = {name.split(".")[0] for name in imports(tree(module), types=False, functions=False)}
    assert not (tops & HEAVY) - EAGER.get(module, set())


@every_module
def test_only_one_file_knows_flax(module):
    tops = {name.split(".")[0] for name in imports(tree(module), types=True, functions=True)}
    assert "flax" not in tops or module == "neural"


@every_module
def test_matplotlib_and_arviz_stay_above(module):
    tops = {name.split(".")[0] for name in imports(tree(module), types=True, functions=True)}
    floor = FLOORS[entry(module)]
    # Tables of answers draw themselves, on what the canvas gives them.
    assert floor >= 9 or module == "canvas" or not tops & {"matplotlib", "arviz_plots"}
    assert floor >= 6 or not tops & {"arviz", "arviz_base", "xarray"}
    assert floor >= 6 or floor == 2 or not tops & {"pandas", "formulaic"}


@every_module
def test_file_is_small(module):
    lines = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{module} has {lines} lines: split it"


@every_module
def test_no_module_is_called_like_a_public_function(module):
    exported = exported_names("__init__") or []
    functions = {n for n in exported if n not in MODULES and f"{n}.__init__" not in MODULES}
    clash = (PUBLIC_FUNCTIONS | functions) & set(module.split("."))
    assert not clash, f"`import bayesglm.{module}` would overwrite {clash}"


def is_all(node: ast.AST) -> bool:
    if isinstance(node, ast.AnnAssign):
        return ast.unparse(node.target) == "__all__"
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"


def exported_names(module: str) -> list[str] | None:
    for node in tree(module).body:
        if is_all(node):
            return ast.literal_eval(node.value)
    return None


@every_module
def test_all_stands_at_the_top(module):
    body = tree(module).body
    if not body:
        return
    if len(body) == 1 and ast.get_docstring(tree(module)):
        return  # the face of a folder that exports nothing
    exported = exported_names(module)
    assert exported is not None, f"{module} has no __all__"
    assert len(exported) == len(set(exported))
    for before, node in pairwise([None, *body]):
        if is_all(node):
            return
        plain = isinstance(node, ast.Import | ast.ImportFrom | ast.Expr) or is_type_checking(node)
        assert plain, f"__all__ of {module} comes after line {getattr(before, 'lineno', 1)}"


@every_module
def test_file_begins_with_a_docstring_and_future_annotations(module):
    body = tree(module).body
    if not body:
        return
    assert ast.get_docstring(tree(module))
    if len(body) == 1:
        return
    assert "__future__.annotations" in imports(tree(module), types=False, functions=False)


@every_module
def test_nothing_is_executed_or_unpickled(module):
    tops = {name.split(".")[0] for name in imports(tree(module), types=False, functions=True)}
    assert not tops & FORBIDDEN_MODULES
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in FORBIDDEN_CALLS, f"{module}, line {node.lineno}"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert ast.unparse(node.value) == "False", f"{module}, line {node.value.lineno}"


@every_module
def test_no_assert_and_no_swallowed_exception(module):
    for node in ast.walk(tree(module)):
        assert not isinstance(node, ast.Assert), f"{module}, line {node.lineno}: raise an error"
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"}
            raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            assert raises or not broad, f"{module}, line {node.lineno}: name the exceptions"


SNAPSHOT = """
import json, sys, warnings
import jax, numpyro, optax
{extra}
state = {{
    "config": {{name: repr(value) for name, value in jax.config.values.items()}},
    "filters": [repr(f) for f in warnings.filters],
    "x64": bool(jax.config.jax_enable_x64),
    "loaded": sorted({{name.partition(".")[0] for name in sys.modules}}),
}}
print(json.dumps(state))
"""


def state_of_a_fresh_process(extra: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", SNAPSHOT.format(extra=extra)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_import_does_nothing_to_the_world():
    without = state_of_a_fresh_process("")
    package = state_of_a_fresh_process("import bayesglm")
    assert package["config"] == without["config"]
    assert package["filters"] == without["filters"]
    assert package["x64"] is False

    names = {"pandas", "formulaic", "xarray", "arviz", "matplotlib", "flax", "sklearn"}
    # JAX and NumPyro themselves bring a few others (SciPy, tqdm); those are not ours to judge.
    new = set(package["loaded"]) - set(without["loaded"])
    assert not names & set(package["loaded"])
    assert not HEAVY & new


def test_import_starts_no_device():
    # After that nobody can choose the number of devices, or join other processes.
    code = "import bayesglm, jax; jax.config.update('jax_num_cpu_devices', 2); print(len(jax.devices()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2"]


@every_module
def test_promised_names_exist(module):
    loaded = importlib.import_module("bayesglm" if module == "__init__" else f"bayesglm.{module}")
    missing = [name for name in exported_names(module) or [] if not hasattr(loaded, name)]
    assert not missing, f"__all__ of {module} promises {missing}"
