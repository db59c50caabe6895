"""What is promised of speed, memory and recall, and how results are held against it."""
