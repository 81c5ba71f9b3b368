"""Likelihoods under models without a group: the oracle, GUDA and other unlearning operators."""
