"""What remakes the committed results: the zoo, the recipes, and the peers beside ours."""
