"""What runs where there is no internet: Kaggle's kernel, or anyone's machine. Importing it loads no torch."""

__version__ = "0.1.0"
