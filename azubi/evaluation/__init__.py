"""What answers are worth: metrics with their uncertainty, and the report. Knows nothing of models."""
