"""What the figures are: average precision, IoU, boundary F1, confusion, thresholds, Δm; arrays in, numbers out."""
