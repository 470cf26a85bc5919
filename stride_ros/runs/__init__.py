"""The record of a run: the decisions and commentary on one recording, its report and its comparison."""
