"""Rules hidden in records: finding them, and computing with them instead of learning them."""
