"""What a network's predictions are worth."""
