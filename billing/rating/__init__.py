"""Pure rules of rating: no ORM, no clock of their own; time and prices are arguments."""
