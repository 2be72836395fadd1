"""Keeping one frame of each run of near-duplicates: similarity, decisions, the audit, and images for annotators."""
