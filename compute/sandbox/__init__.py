"""The child process of an attempt: started, confined, listened to. No Django: the child imports this."""
