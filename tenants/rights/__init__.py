"""Who holds which rights: grants of people, groups and service accounts, as rows."""
