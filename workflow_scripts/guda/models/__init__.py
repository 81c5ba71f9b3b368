"""Networks, their noise schedules and checkpoints, and what samples from them."""
