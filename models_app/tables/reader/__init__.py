"""Read files of every format in bounded memory. Runs in the sandbox only."""
