"""Similarity of gradients: TRAK, D-TRAK and DAS."""
