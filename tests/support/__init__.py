"""The services that tests run against: real ones, thrown away after the session."""
