"""The workstation: from recordings to a trained, exported and replayed model."""
