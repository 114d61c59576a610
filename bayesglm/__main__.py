"""``python -m bayesglm``."""

from __future__ import annotations

from bayesglm.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
