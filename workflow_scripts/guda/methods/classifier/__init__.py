"""Posteriors of a group classifier."""
