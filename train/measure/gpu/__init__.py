"""What a GPU does with the paper's models: checks of the kernels, times, memory, and shares of its own ceiling."""
