"""Fine-tune an activation model on the world, annotated videos or a robot's own recordings."""
