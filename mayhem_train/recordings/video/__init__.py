"""Cameras that record video: any picture of it by its place, decoded from where decoding may begin."""
