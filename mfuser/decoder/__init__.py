"""From fused features and class texts to masks: pyramid, pixel decoder, query decoder."""
