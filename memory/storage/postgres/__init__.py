"""A store that many hosts share: the truth in PostgreSQL, and a replica of it at each worker."""
