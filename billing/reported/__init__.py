"""Usage that is reported from outside: received, reviewed, limited, voided."""
