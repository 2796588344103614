"""What is made of the observations: pure functions and small state machines. No I/O; time is an argument."""
