"""Answers on the probability scale: predictions, comparisons, slopes, hypotheses.

`rows` says which rows are asked about and how they are averaged, `encodings` how the matrix changes
with a column, `engine` computes, `answers` tabulates; one file for each question stands over them.
"""
