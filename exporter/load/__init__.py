"""A workload in steps for pressure tests and demos: messages of a known age, and consumers as slow and as faulty as wanted."""

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
