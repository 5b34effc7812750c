"""Fitting a model to a data set: the only place that knows Lightning.

Order and changes of the samples, dropout and learning rate are functions of (seed, step), and a checkpoint holds the
rest: a run that is killed and begun again ends with the same weights.
"""
