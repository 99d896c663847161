"""Running one stage: loop, checkpoints, ranks, evaluation; knows no Ray."""
