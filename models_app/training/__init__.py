"""The job kind `train`."""
