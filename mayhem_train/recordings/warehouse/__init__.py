"""Procedural warehouse drives: what an AGV's camera sees, with exact labels."""
