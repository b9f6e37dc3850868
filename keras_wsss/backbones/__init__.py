"""Networks that turn images into features at strides 4, 8, 16 and 16."""
