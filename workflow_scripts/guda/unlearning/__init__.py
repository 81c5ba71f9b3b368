"""Unlearning operators: each turns the full model into one that approximates training without a group."""
