"""Compare networks with each other and with the paper."""
