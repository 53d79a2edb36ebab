"""What the kernel leans on outside of itself, and imports when it is needed."""
