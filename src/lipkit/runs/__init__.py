"""What a run folder is: its files and their schema, its manifest, how it is written and read."""
