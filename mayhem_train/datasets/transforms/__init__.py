"""From a sample to one of the network's size, varied for training."""
