"""The record of a run: what was decided and said about one recording, its report and its comparison."""
