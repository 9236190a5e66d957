"""Who else could do the specialist's work: the rivals of a proof, each behind the same protocol.

base, prompted, retrieval, classical, neighbours, frequent, lora, generalist; and the specialist itself, with
and without retrieved examples. Each prepares with training and validation examples, then answers questions.
"""
