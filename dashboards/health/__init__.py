"""The Dash page `Model health`: how the models that answer in real time do."""
