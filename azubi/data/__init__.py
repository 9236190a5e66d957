"""Examples in, checked and split; the prime; the chat template. Knows no other room but the errors."""
