"""The look of HTML pages: reports of runs, of benchmarks and of events found."""
