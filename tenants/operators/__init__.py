"""The operator's side: people who run the platform, what they did, and the little they see of every tenant."""
