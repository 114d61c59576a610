"""Two environments, and workers in fresh processes of theirs with a time limit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contestants import CONTESTANTS

__all__ = ["LIMIT", "Outcome", "alternate", "compete", "peers_python"]

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parents[1] / ".benchmarks"
# Seconds that the import or one fit may take.
LIMIT = 600.0


@dataclass
class Outcome:
    """What a worker reached: seconds of the import, a record for each fit, and how it ended."""

    imported: float = float("nan")
    fits: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    peak: float = float("nan")
    problem: str = ""


def peers_python() -> str:
    """Return the peers' interpreter; their environment is made where it is missing or outdated."""
    wanted = HERE / "peers.txt"
    environment = FOLDER / "peers"
    python, stamp = environment / "bin" / "python", environment / "installed.txt"
    if not stamp.exists() or stamp.read_text() != wanted.read_text():
        print("making the peers' environment in", environment.name, flush=True)
        uv = os.environ.get("UV", "uv")
        subprocess.run(
            [uv, "venv", "-q", "--clear", "--python", "3.12", str(environment)], check=True
        )
        subprocess.run(
            [uv, "pip", "install", "-q", "--python", str(python), "-r", str(wanted)], check=True
        )
        stamp.write_text(wanted.read_text())
    return str(python)


def compete(contestant: str, *, limit: float = LIMIT, **request: Any) -> Outcome:
    """Run a worker and return what it answered; no answer within the limit ends it."""
    own = CONTESTANTS[contestant].environment == "own"
    command = [
        sys.executable if own else peers_python(),
        str(HERE / "worker.py"),
        json.dumps({"contestant": contestant, **request}),
    ]
    outcome = Outcome(problem="died")
    # A cache of compiled programs is no part of a fresh process, and nobody's threads are bound.
    hidden = ("JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS", "OMP_NUM_THREADS", "PYTHONPATH")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
            start_new_session=True,
        )  # fmt: skip
        try:
            _listen(process, outcome, limit)
        finally:
            _end(process)
        if outcome.problem == "died":
            errors.seek(0)
            lines = [line.strip() for line in errors.read().splitlines() if line.strip()]
            outcome.problem = "failed: " + (lines[-1][:80] if lines else str(process.returncode))
    return outcome


def _end(process: subprocess.Popen) -> None:
    """End a worker and the processes that its library has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _listen(process: subprocess.Popen, outcome: Outcome, limit: float) -> None:
    """Read the answers of a worker into its outcome."""
    late = threading.Event()

    def stop() -> None:
        late.set()
        _end(process)

    while True:
        timer = threading.Timer(limit, stop)
        timer.start()
        line = process.stdout.readline()
        timer.cancel()
        if not line:
            break
        answer = json.loads(line)
        event = answer.pop("event")
        if event == "import":
            outcome.imported, outcome.versions = answer["seconds"], answer["versions"]
        elif event == "fit":
            outcome.fits.append(answer)
        else:
            outcome.peak, outcome.problem = answer["peak"], ""
    process.wait()
    if late.is_set():
        outcome.problem = f"> {limit:g} s"


def alternate(
    cases: dict[str, dict[str, Any]], repeats: int, *, limit: float = LIMIT, **shared: Any
) -> dict[str, list[Outcome]]:
    """Run cases in turn, repeat by repeat, each time another one first.

    A case is a request, which names its contestant. In a repeat all have the same seeds. Who fails
    or runs out of time once is not asked again.
    """
    outcomes: dict[str, list[Outcome]] = {label: [] for label in cases}
    labels = list(cases)
    for repeat in range(repeats):
        shift = repeat % len(labels)
        for label in labels[shift:] + labels[:shift]:
            if any(outcome.problem for outcome in outcomes[label]):
                continue
            print(f"  {label}, {repeat + 1} of {repeats} ...", file=sys.stderr, flush=True)
            request = {"seed": 1_000 * repeat, **shared, **cases[label]}
            outcomes[label].append(compete(limit=limit, **request))
    return outcomes
