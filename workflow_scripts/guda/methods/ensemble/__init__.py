"""Several methods' scores as one."""
