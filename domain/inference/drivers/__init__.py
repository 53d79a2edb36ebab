"""Models behind the ports. Private to `domain.inference`."""
