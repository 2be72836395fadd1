"""Networks: bodies, heads and their assembly."""
