"""Measuring: folds, cross-validation, two runs side by side."""
