"""What `mayhem benchmark` does: how large models are and how fast they run here."""
