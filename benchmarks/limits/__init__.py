"""How far a query is from what the machine can do."""
