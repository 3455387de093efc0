"""Forms of billing. A form only parses; operations decide."""
