# ruff: noqa: RUF001
"""Tries to break out of a formula: to run code, to reach objects, to fill the memory or the time.

Formulas come from files and command lines, so each try must be refused, or answered soon as the
harmless formula that it is; nothing may be executed.
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np
import pandas as pd
import pytest

import bayesglm as bg
from bayesglm.expressions import check_quotes

# Each try must be over by then; the slowest takes a fraction.
SECONDS = 20


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    n = 60
    return pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "z": rng.uniform(1, 2, n),
            "g": rng.choice(["a", "b", "it's"], n),
            "y": rng.integers(0, 2, n),
            "a'b": rng.normal(size=n),
            "back\\slash": rng.normal(size=n),
            "ﬁ": rng.normal(size=n),
        }
    )


# CODE stands for a call that leaves a mark.
TRIES = {
    # Objects behind objects.
    "class": "x.__class__",
    "subclasses": "().__class__.__base__.__subclasses__()",
    "subclasses of text": "''.__class__.__mro__[1].__subclasses__()",
    "globals": "np.log.__globals__['os'].system('true')",
    "init globals": "C.__init__.__globals__",
    "dict of numpy": "np.__dict__['os']",
    "module of a module": "np.os.system('true')",
    "numpy's loader": "np.load('x.npy', allow_pickle=True)",
    "numpy's file": "np.fromfile('/etc/passwd')",
    "numpy's text": "np.genfromtxt('/etc/passwd')",
    "numpy's testing": "np.testing.runstring('CODE', {})",
    "numpy's distutils": "np.distutils.exec_command('true')",
    "numpy's ctypes": "np.ctypeslib.load_library('libc', '/')",
    "numpy's f2py": "np.f2py.compile('CODE')",
    "memory of numpy": "np.memmap('/etc/passwd')",
    "vectorize": "np.vectorize(CODE)(x)",
    "contr": "C(x, contr.__class__)",
    "contr of contr": "C(x, contr.treatment.__init__.__globals__)",
    "attribute of a transform": "scale.__wrapped__(x)",
    "attribute of a call": "scale(x).__class__",
    "state of formulaic": "I(__FORMULAIC_STATE__)",
    "context of formulaic": "I(__FORMULAIC_CONTEXT__)",
    "spec of formulaic": "__FORMULAIC_SPEC__.__class__",
    "state handed over": "scale(x, _state={})",
    "spec handed over": "C(x, _spec=x)",
    "context handed over": "bs(x, df=4, _context=x)",
    "builtins": "__builtins__['eval']('CODE')",
    # Names of Python.
    "import": "__import__('os').system('true')",
    "eval": "eval('CODE')",
    "exec": "exec('CODE')",
    "compile": "compile('CODE', '', 'eval')",
    "open": "open('MARK', 'w')",
    "getattr": "getattr(x, '__class__')",
    "vars": "vars(np)",
    "globals called": "globals()",
    "breakpoint": "breakpoint()",
    "input": "input()",
    "exit": "exit()",
    "type": "type('X', (), {})",
    "Q of patsy": "Q('x')",
    "query of pandas": "x.eval('1')",
    "print": "print(x)",
    # Forms of Python.
    "lambda": "(lambda: CODE)()",
    "lambda in a call": "I((lambda v: v)(x))",
    "default argument": "I((lambda v=CODE: v)())",
    "list": "[v for v in x]",
    "generator": "I(v for v in x)",
    "dict": "{k: 1 for k in x}",
    "f-string": "I(f'{CODE}')",
    "f-string in a level": "C(g, Treatment(f'{CODE}'))",
    "walrus": "I((w := x))",
    "conditional": "I(x if CODE else z)",
    "await": "I(await x)",
    "yield": "I((yield x))",
    "subscript": "I(x[0])",
    "slice": "I(x[CODE:])",
    "starred": "np.maximum(*x)",
    "starred twice": "np.maximum(**x)",
    "star in a list": "C(g, levels=[*g])",
    "keyword out": "np.log(x, out=z)",
    "third place out": "np.maximum(x, z, x)",
    "nested call in a keyword": "C(g, levels=CODE)",
    "nested call in a curve": "bs(x, df=I(CODE))",
    "call of a call": "C(x)(CODE)",
    "call of a text": "'x'(CODE)",
    "call of a bracket": "(C, eval)(x)",
    "format": "I('{0.__class__}'.format(x))",
    "percent": "I('%s' % x)",
    "bytes": "I(b'x' * 3)",
    "ellipsis": "I(...)",
    "statement": "I(x); CODE",
    "line break": "I(x)\nCODE",
    "comment": "I(x #)\n, CODE)",
    "braces": "{CODE}",
    "braces with a name": "{x.__class__}",
    "percent operator": "x %CODE% z",
    "matrix product": "I(x @ CODE)",
    "NUL": "I(x)\x00CODE",
    # Text that is code to one reader only.
    "backticks in text": "I(x, '`' + CODE + '`')",
    "backticks in other text": 'I(x, "`" + CODE + "`")',
    "backticks in text of scale": "scale(x, '`' or CODE or '`')",
    "backticks in a factor's level": "C(g, Treatment('`' + CODE + '`'))",
    "half a backtick": "I(x, '`', CODE)",
    "backtick of a column": "I(x, `y' + CODE + '`)",
    "quotes in a level": """C(g, Treatment("' + CODE + '"))""",
    "a quote in a level": """C(g, Treatment("], CODE)#'"))""",
    "a bracket in a level": """scale(x, "') or CODE or ('")""",
    "backslash in text": "I(x, '\\\\', '`' + CODE + '`')",
    "backslash and quote": "C(g, Treatment('\\' + CODE + \\''))",
    "name of a placeholder": "I(x, '_quoted_0_') + I(`CODE`)",
    "quotes in a name": "I(`a'b` + CODE + `a'b`)",
    "backslash in a name": "I(`back\\slash` + CODE)",
    # Letters that Python takes for others (NFKC).
    "wide letters": "ｅｖａｌ('CODE')",
    "mathematical letters": "𝐞𝐱𝐞𝐜('CODE')",
    "wide attribute": "np.ｌｏａｄ('x')",
    "wide underscores": "x.＿＿class＿＿",
    "italic import": "__𝘪mport__('os')",
    "ligature": "np.proﬁle(x)",
}


@pytest.mark.parametrize("name", TRIES)
@pytest.mark.parametrize(
    "formula",
    ["y ~ {}", "y ~ z + I({}):z", "{} ~ x", "y ~ x + offset({})"],
)
def test_nothing_is_executed(frame, tmp_path, name, formula):
    mark = tmp_path / "mark"
    code = f"__import__('os').system('touch {mark}')"
    text = TRIES[name].replace("CODE", code).replace("MARK", str(mark))
    before = frame.copy()
    # Refused, by a word of our own.
    with pytest.raises(bg.BayesGLMError):
        bg.Model(formula.format(text), frame)
    assert not mark.exists()
    pd.testing.assert_frame_equal(frame, before)


def test_nothing_is_executed_for_networks_either(frame, tmp_path):
    mark = tmp_path / "mark"
    for text in TRIES.values():
        code = text.replace("CODE", f"__import__('os').system('touch {mark}')")
        with pytest.raises(bg.BayesGLMError):
            bg.Model("y ~ x", frame, add=[bg.Network(f"~ z + {code}")])
    assert not mark.exists()


def test_what_is_harmless_goes_on_working(frame):
    for right in (
        "C(g, Treatment('b'))",
        'C(g, Treatment("b"))',
        "ﬁ",
        "`a'b` + x",
        "`back\\slash`",
    ):
        assert bg.Model(f"y ~ {right}", frame).fit("mle").nobs == 60
    left = bg.Model("""g == "it's" ~ x""", frame)
    np.testing.assert_array_equal(left.design.y, frame["g"] == "it's")


def test_a_name_that_python_reads_otherwise_is_told(frame):
    for formula in ("y ~ I(ﬁ + x)", "ﬁ > 0 ~ x"):
        with pytest.raises(bg.DataError, match=r"no column .fi.*Python reads .ﬁ. so: rename"):
            bg.Model(formula, frame)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("""C(g, Treatment("it's"))""", "it's.*rename the level"),
        ("I(`a'b` * 2)", "a'b.*rename"),
        ("C(g, levels=['`x`'])", "`x`"),
        ("C(g, Treatment('\\n'))", "inside quotes"),
    ],
)
def test_quotes_inside_quotes_are_refused_with_advice(text, words):
    with pytest.raises(bg.FormulaError, match=words):
        check_quotes(text, "y ~ ...")


LONG = {
    "brackets": "(" * 100_000 + "x" + ")" * 100_000,
    "brackets inside calls": "I(" * 30_000 + "x" + ")" * 30_000,
    "open brackets": "(" * 300_000,
    "closed brackets": ")" * 60_000 + "(" * 60_000,
    "calls": "scale(" * 200 + "x" + ")" * 200,
    "attributes": "x" + ".a" * 50_000,
    "a sum in I()": "I(" + "x + " * 20_000 + "x)",
    "minus": "I(" + "-" * 50_000 + "x)",
    "not": "I(" + "not " * 20_000 + "x)",
    "comparisons": "I(x" + " < x" * 20_000 + ")",
    "a million letters": "x" * 1_000_000,
    "a megabyte of terms": "x + " * 250_000 + "x",
    "a megabyte of blanks": " " * 1_000_000 + "(",
    "digits": "I(x * " + "9" * 100_000 + ")",
    "text": "C(g, Treatment('" + "a" * 300_000 + "'))",
    "backticks": "`" * 99_999,
    "quotes": "'" * 99_999,
    "braces": "{" * 50_000 + "x" + "}" * 50_000,
    "tower": "I(x * 9**9**9)",
    "tower in an exponent": "I(x ** 9**9**9)",
    "tower with a column": "I((x + 9) ** (9**9))",
    "shift": "I(1 << 10**9)",
    "copies of text": "I('a' * 1000000000)",
    "copies of a column of text": "I(g * 1000000000)",
    "copies of a list": "C(g, levels=['a'] * 1000000000)",
    "degree": "poly(x, 100000000)",
    "degree with a sign": "poly(x, +100000000)",
    "degree in a product": "poly(x, 10000*10000)",
    "degree by name": "poly(x, degree=100000000)",
    "degree of truth": "poly(x, -1)",
    "knots": "bs(x, df=100000000.0)",
    "knots by a call": "cr(x, df=np.exp(30))",
    "degree of a spline": "bs(x, degree=100000000)",
    "sum to a power": "(" + " + ".join(f"v{i}" for i in range(100)) + ")**50",
    "two to a power": "(x + z)**1000000000",
    "powers of powers": "((((x + z)**9)**9)**9)**9",
    "crossing": "*".join(f"v{i}" for i in range(40)),
    "crossing of sums": "*".join(f"(v{i} + w{i})" for i in range(20)),
    "nested by slashes": "/".join(f"v{i}" for i in range(60)),
    "nested by words": " %in% ".join(f"(v{i} + w{i})" for i in range(20)),
    "interactions of sums": ":".join(f"(v{i} + w{i})" for i in range(30)),
    "hats": "(x + z)" + "^9" * 2_000,
    "minus powers": "x - (x + z + g)**40",
}


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("formula", ["y ~ {}", "{} ~ x", "y ~ x + offset({})"])
def test_bombs_are_refused_soon(frame, name, formula):
    begin = time.monotonic()
    with pytest.raises(bg.BayesGLMError) as caught:
        bg.Model(formula.format(LONG[name]), frame)
    assert time.monotonic() - begin < SECONDS
    # A message is for people.
    assert len(str(caught.value)) < 2_000


def test_long_formulas_of_people_are_no_bombs():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({f"column {i}": rng.normal(size=30) for i in range(400)})
    frame["y"] = np.arange(30) % 2
    right = " + ".join(f"`column {i}`" for i in range(400))
    assert bg.Model(f"y ~ {right}", frame).design.p == 400
    deep = "I(" + "(" * 20 + "`column 1`" + ")" * 20 + ")"
    assert bg.Model(f"y ~ {deep}", frame).design.p == 1
    total = "I(" + " + ".join(f"`column {i}`" for i in range(100)) + ")"
    model = bg.Model(f"y ~ {total}", frame)
    np.testing.assert_allclose(model.design.matrix[:, 0], frame.iloc[:, :100].sum(axis=1))
    assert bg.Model("y ~ " + "*".join(f"`column {i}`" for i in range(6)), frame).design.p == 63


def test_the_command_line_executes_nothing(frame, tmp_path):
    import subprocess

    csv, mark = tmp_path / "data.csv", tmp_path / "mark"
    frame.to_csv(csv, index=False)
    code = f"__import__('os').system('touch {mark}')"
    for name in ("backticks in text", "class"):
        formula = "y ~ " + TRIES[name].replace("CODE", code)
        call = [sys.executable, "-m", "bayesglm", "fit", str(csv), formula]
        done = subprocess.run(call, capture_output=True, text=True, env=os.environ, check=False)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr + done.stdout
    assert not mark.exists()
