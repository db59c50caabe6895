"""Search among consecutive documents: range filters against filtering afterwards."""
