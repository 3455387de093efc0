"""One request and its answer: who may call, how often, and in which protocol."""
