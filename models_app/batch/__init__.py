"""The job kind `batch_predict`."""
