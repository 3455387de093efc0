"""What the devices cost the platform, and how that is split over the organisations. Nothing here is ever invoiced."""
