"""What tests of bills share: a re-rater of its own, and generated bills."""
