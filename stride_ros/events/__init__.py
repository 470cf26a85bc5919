"""The event log: events found on a robot or in recordings, stored in one searchable file."""
