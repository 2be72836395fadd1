"""What `mayhem test` does: a model over the labelled frames of a split, without ROS, and its report."""
