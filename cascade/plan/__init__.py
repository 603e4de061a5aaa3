"""The run predicted: what each stage has to do, how long that takes, and what to turn where it does not fit.

Light: importing it loads no torch, and nothing here runs a model.
"""

# The competition's own sizes, which a run on other data is planned for.
FULL_TEST = 2055  # queries: about 685 questions of the hidden test with three wrong answers each
FULL_MAPPING = 2587  # rows of misconception_mapping.csv
