"""What is measured of jobs on many workers: `python -m tests.cluster`."""
