"""A model's predictions as annotations for people to correct."""
