"""What a model gets right on labelled photographs, counted image by image."""
