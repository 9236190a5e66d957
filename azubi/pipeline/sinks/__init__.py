"""Where else a run's events may go: TensorBoard and MLflow, if they are installed."""
