"""What is wrong with a set of images: duplicates, coders and sizes that give the class away."""
