"""Counterfactuals of a mixture of groups, without training a model per group."""
