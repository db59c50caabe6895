"""Dense search among consecutive documents: ranges against what faiss offers, at equal recall."""
