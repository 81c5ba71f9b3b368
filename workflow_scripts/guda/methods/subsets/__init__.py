"""Shapley and Banzhaf values of groups, from models of random subsets of them."""
