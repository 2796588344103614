"""A process for each source, so that what ends it ends nothing else."""
