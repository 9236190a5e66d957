"""Who else could do the specialist's work: the baselines of a proof, behind one protocol."""
