"""Import and export of vectors, counts and documents in formats of others, one file each."""
