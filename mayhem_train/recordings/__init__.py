"""Recordings: open any of them, find any frame."""
