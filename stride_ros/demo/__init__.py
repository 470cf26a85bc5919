"""Run the whole graph on one machine."""
