"""Loss weightings: from the tasks' losses to their coefficients."""
