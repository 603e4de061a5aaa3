"""Faults: whole runs of submission.ipynb, hurt at random moments, and what must hold whatever was done to them.

`python -m tests.faults` (`make faults`): processes killed and stopped, memory taken away, a disk filled, tables,
adapters and wheels spoiled, weights of NaN, notebooks that raise, a card that vanishes, another deadline.
"""
