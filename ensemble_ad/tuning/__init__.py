"""Searching over the settings of an experiment: which values are best by an objective that needs no test label."""
