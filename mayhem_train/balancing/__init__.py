"""Balancing: from task losses to one update of the shared body."""
