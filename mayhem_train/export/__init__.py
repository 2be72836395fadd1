"""Export: checkpoint to one self-describing ONNX file."""
