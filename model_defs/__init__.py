"""What is shipped: the specifications, the zoo and the procedures around it."""
