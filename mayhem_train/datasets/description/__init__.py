"""What a dataset holds, and what leaks between its splits."""
