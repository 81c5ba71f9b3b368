"""Unlearning of the query: AbU and MUCS."""
