"""The run predicted: what each stage has to do, how long that takes, and what to turn where it does not fit.

Light: importing it loads no torch, and nothing here runs a model.
"""
