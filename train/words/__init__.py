"""How well free texts find things in pictures, and a text tower that learns more words: `words`, `teach`."""
