"""HTTP in: validates, maps keys to workflow ids, admits, answers. Owns every status code."""
