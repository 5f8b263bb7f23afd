"""How well free texts find things in pictures: `python -m train words`."""
