"""Advises how many consumers a subscription needs. Pure functions of polls; time is an argument."""
