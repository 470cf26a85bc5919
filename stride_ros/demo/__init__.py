"""The whole graph on one machine."""
