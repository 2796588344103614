"""A workload in steps for load tests and demos.

Messages carry the time they were sent, and consumers are as slow and as faulty as wanted.
"""

from exporter.load.clients import LoadError, Workload
from exporter.load.making import workload_of
from exporter.load.running import Load
from exporter.load.steps import Step, StepError, duration, parse_steps
from exporter.load.tally import Result

__all__ = [
    "Load",
    "LoadError",
    "Result",
    "Step",
    "StepError",
    "Workload",
    "duration",
    "parse_steps",
    "workload_of",
]
