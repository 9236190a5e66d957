"""What a run will take, said before it begins: counted, and measured on a few of its own lessons."""
