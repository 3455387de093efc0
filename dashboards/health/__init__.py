"""The Dash page `Model health`: monitoring of deployed models."""
