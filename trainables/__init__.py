"""What a sweep can train: tasks, stages, the loop that runs a stage, and the gangs that host the loop."""
