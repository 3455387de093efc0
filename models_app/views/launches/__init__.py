"""The forms that launch a job, with the cost before anything runs."""
