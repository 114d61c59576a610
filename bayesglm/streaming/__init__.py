"""Data on disk that are never in memory whole: read, learned from and encoded by row blocks.

`source` reads files, `learning` is the first pass, `compress` counts equal rows, `streamed` is the
design that comes of it.
"""
