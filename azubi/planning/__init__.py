"""What a run will take: counted work, timed batches, and the forecast made from them."""
