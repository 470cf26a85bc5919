"""Make the embedded checkpoint stride-tiny: from scratch, on the synthetic world, on a CPU."""
