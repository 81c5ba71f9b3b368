"""Networks, their noise schedules, checkpoints and samplers."""
