"""Look into one trained network: cost, attention, normalisation, errors."""
