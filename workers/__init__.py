"""The cluster and the command line: the top floor, where Ray and Weights & Biases live."""
