"""Evaluation: metrics, replay through the node, reports."""
