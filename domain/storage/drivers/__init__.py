"""Where blobs can be kept."""
