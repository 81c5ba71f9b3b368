"""Retraining of small proxies of the model without each group."""
