"""Signatures: who vouches for a bundle, and what it was made of. Needs the extra `sign`."""
