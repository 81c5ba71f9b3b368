"""Gradient ascent on the forget images."""
