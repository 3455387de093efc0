"""Pure rules of rating: no ORM and no clock; time and prices are arguments."""
