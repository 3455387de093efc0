"""Projects: cost centres, and who sees what is in a restricted one."""
