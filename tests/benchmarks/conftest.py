"""Benchmarks are scripts: pytest leaves them alone, doctests included."""

collect_ignore_glob = ["*.py", "contestants/*.py"]
