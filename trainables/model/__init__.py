"""One trunk, an image side and small heads."""
