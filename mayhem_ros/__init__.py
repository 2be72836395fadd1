"""The robot: one ROS 2 node that runs an exported model on camera topics."""
