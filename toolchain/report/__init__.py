"""What is shown of a parity run: on the terminal, as a page, and for a CI server."""
