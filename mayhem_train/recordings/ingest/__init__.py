"""Recordings extracted into files: images, depth, clouds, motion, calibrations, and the table that pairs them."""
