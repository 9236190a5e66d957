"""What a specialist forgets, gives away, and would gain from more examples."""
