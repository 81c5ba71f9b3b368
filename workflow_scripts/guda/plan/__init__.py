"""The experiment as the workflow sees it. Torch-free: rules import nothing else."""
