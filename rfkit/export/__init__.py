"""Networks in the form in which they are used: norms folded, and as ONNX files."""
