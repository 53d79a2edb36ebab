"""Text out of files: `sandbox.read` in a confined child, `kinds` by their bytes, `blocks` with their places."""
