"""Models out of files: each kind of file is read into a specification whose build() runs it."""
