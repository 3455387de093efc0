"""The services of the tests: real ones, discarded after the session."""
