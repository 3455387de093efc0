"""A neural network for tables: numbers, dates, booleans and categories in, a class or a number out."""
