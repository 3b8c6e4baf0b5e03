"""The page of all results, and a model card for each network."""
