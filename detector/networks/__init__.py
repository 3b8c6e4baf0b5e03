"""The networks: building, training, explaining and timing them."""
