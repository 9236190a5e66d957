"""Examples in, checked and split; the instruction; the chat template. Below it: settings, errors, files."""
