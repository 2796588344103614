"""What is wrong with a subscription, and why: pure functions and small state machines."""
