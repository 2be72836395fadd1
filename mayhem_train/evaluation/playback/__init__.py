"""Recorded messages out to the real perception node and its answers back, on a ROS domain of their own."""
