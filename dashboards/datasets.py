"""The numbers of the Dash pages: reads the queries of other rooms and shapes them for charts and tables."""
