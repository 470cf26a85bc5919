"""Thin ROS 2 adapters: what a robot's graph sees of activation and response."""
