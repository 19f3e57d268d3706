"""Trainings shown by TensorBoard, Trackio, Weights & Biases and MLflow, behind one protocol."""
