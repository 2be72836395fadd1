"""Datasets: labels in, index and samples out."""
