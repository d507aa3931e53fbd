"""Fitting and evaluating the models of a release."""
