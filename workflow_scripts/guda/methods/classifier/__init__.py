"""Posteriors of a classifier of groups."""
