"""From a period's rated usage to a bill: adjustment lines, credits and tax. Pure: no ORM and no clock."""
