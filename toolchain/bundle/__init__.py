"""What ships: a folder, its manifest, and how files are written whole."""
