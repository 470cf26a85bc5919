"""What a decision and an answer cost, and how the nodes keep up; each part is a command."""
