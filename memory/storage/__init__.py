"""The file: SQLite, its schema, transactions and readers, and what it says of itself."""
