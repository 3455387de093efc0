"""Models and their versions: registration, stages and lineage."""
