"""From pixels to an Analysis."""
