"""Services that run meeting bots."""
