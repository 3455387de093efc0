"""Forms of the models app. A form only parses; operations decide."""
