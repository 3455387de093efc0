"""The Dash page `Spend and utilisation`, and the charts and tables that other pages share with it."""
