"""How long a run will take, learnt from runs that were like it."""
