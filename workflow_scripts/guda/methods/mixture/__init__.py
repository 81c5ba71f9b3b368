"""Counterfactuals of a mixture of groups, without any training that leaves one out."""
