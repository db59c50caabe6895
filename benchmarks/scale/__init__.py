"""One index as the corpus grows to millions of documents."""
