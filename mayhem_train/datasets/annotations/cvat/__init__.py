"""CVAT's annotation files, in and out."""
