"""Inference: from the target (the model on its data) to a result, one file for each method.

Nothing here knows DataFrames, formulas or tables.
"""
