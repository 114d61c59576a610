"""Benchmarks against other libraries: ``uv run python tests/benchmarks/run.py [part ...]``.

Parts: posterior, mle, links, scaling, merged, answers, groups, many, sharding, stream, scale,
gradients, or all (the default). The first run makes an environment for the peers (`peers.txt`) in
``.benchmarks/``. Every contestant runs in a fresh
process for each size, ours and the peers' taking turns; nothing else should run meanwhile. The
whole takes hours; ``--quick`` is a smoke run at sizes that say nothing about speed.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

import answers
import grouped
import likelihood
import links
import many
import merged
import posterior
import scale
import scaling
import sharding
import stream

__all__ = ["main"]


def gradients(*, quick: bool, repeats: int | None) -> None:
    """Print the tables of `gradients.py`, which needs JAX and so a process of its own."""
    words = ["--repeats", str(repeats or (1 if quick else 15))]
    script = Path(__file__).with_name("gradients.py")
    subprocess.run([sys.executable, str(script), *words], check=True)


PARTS = {
    "posterior": posterior.run,
    "mle": likelihood.run,
    "links": links.run,
    "scaling": scaling.run,
    "merged": merged.run,
    "answers": answers.run,
    "groups": grouped.run,
    "many": many.run,
    "sharding": sharding.run,
    "gradients": gradients,
    "stream": stream.run,
    "scale": scale.run,
}


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["all"], help=f"all, or of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="a smoke run of minutes")
    parser.add_argument("--repeats", type=int, help="fresh processes for each contestant and size")
    asked = parser.parse_args()
    unknown = [part for part in asked.parts if part not in (*PARTS, "all")]
    if unknown:
        parser.error(f"unknown part {unknown[0]!r}; use all or of {', '.join(PARTS)}")
    if asked.quick:
        print("A smoke run: these sizes say nothing about speed.", flush=True)
    # Whoever ends the driver ends the worker too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    start = time.perf_counter()
    for part in PARTS if "all" in asked.parts else asked.parts:
        PARTS[part](quick=asked.quick, repeats=asked.repeats)
    print(f"\n{time.perf_counter() - start:.0f} s in all", file=sys.stderr)


if __name__ == "__main__":
    main()
