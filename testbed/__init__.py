"""Real brokers, workloads, and the tools around them: started and ended for tests, bench and the stack."""
