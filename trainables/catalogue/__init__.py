"""What exists to be trained on, as constants."""
