"""Similarity of features."""
