"""How the pages that people open in a browser look: reports of runs, of benchmarks and of what was found."""
