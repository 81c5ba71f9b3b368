"""Shapley and Banzhaf values of groups, from models trained on random subsets of groups."""
