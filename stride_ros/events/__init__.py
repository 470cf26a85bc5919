"""The log of events: what was found on a robot or in recordings, kept in one file and searched."""
