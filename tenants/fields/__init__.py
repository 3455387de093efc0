"""Fields that forms and bodies share."""
