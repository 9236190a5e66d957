"""What a state of the data is: its rows, its name, its manifest, and how it differs from another.

Knows nothing of disks, keys or runs.
"""
