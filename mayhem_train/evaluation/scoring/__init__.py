"""A model's predictions against a dataset index: every metric over the whole, and a score for each frame."""
