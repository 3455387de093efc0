"""A neural network for tables: numbers, dates, yes/no and categories in, a class or a number out."""
