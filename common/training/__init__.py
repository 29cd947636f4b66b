"""Training: recipes, the loop, checkpoints, tracking, several seeds and several devices."""
