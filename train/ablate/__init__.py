"""The fusion choices of the paper's Table 4, trained alike."""
