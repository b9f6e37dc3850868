"""I2CRC: relation constraints under saliency maps."""
