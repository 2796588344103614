"""Status, causes and forecast of a subscription: pure functions and small state machines."""
