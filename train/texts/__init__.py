"""The texts that `pretrain` and `words` share: phrases, WordNet, ImageNet's names, their sentence embeddings."""
