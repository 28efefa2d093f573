"""The jobs of `make bench`, one file each: its peers, written as their own documentation shows."""
