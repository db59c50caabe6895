"""Dense search within a budget of memory: light codes and vectors on disk, against faiss."""
