"""Rows of a task into batches of numbers."""
