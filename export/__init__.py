"""Export to SavedModel, ONNX and LiteRT."""
