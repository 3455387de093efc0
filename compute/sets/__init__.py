"""Job sets: the money cap of jobs that were launched together. `compute.arrays` launches them."""
