"""Likelihoods under one network that is conditioned on the group."""
