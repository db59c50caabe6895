"""What a retriever reads: the legs of one commit with their encoders, searched and explained."""
