"""How the embedded checkpoint stride-tiny is made: from scratch, on the synthetic world, on a CPU."""
