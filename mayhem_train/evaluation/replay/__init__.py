"""What `mayhem replay` does: recordings through the perception node, scored, judged and reported."""
