"""The cluster's bill: hours of devices that were there, at what they cost, split over organisations."""
