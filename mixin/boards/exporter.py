"""The exporter itself: whether it sees everything, in time, and at what cost."""

from __future__ import annotations

from mixin.boards.model import CHOSEN, IN_CLUSTER, OF_SOURCE, Board, Panel, Query, Row
from mixin.recording import UP, merged

TASK = "{{source}} {{task}} {{cluster}}"
INSTANCE = "{{instance}} {{cluster}}"
OURS = f"and on (job, instance) mq_exporter_build_info{{{IN_CLUSTER}}}"


def counted(metric: str, by: str) -> str:
    """Return how often something happened within ten minutes; nothing if it did not."""
    return f"sum by ({by}) ({merged(f'increase({metric}{{{CHOSEN}}}[10m])')}) > 0"


BOARD = Board(
    uid="mq-exporter",
    title="Message queues / Exporter",
    description="State of the exporter: which sources it can read, how long that takes, and how much CPU and memory it uses.",
    variables=OF_SOURCE,
    content=(
        Panel(
            "stat",
            "Exporters",
            "How many exporters are scraped, and which versions are they?",
            (Query(f"count by (version) (mq_exporter_build_info{{{IN_CLUSTER}}})", "{{version}}"),),
            width=5,
            height=4,
            named=True,
            decimals=0,
        ),
        Panel(
            "stat",
            "Series",
            "How many series are exposed for all sources?",
            (Query(f"sum({merged(f'mq_series{{{CHOSEN}}}')})"),),
            width=5,
            height=4,
        ),
        Panel(
            "stat",
            "Series left out",
            "How many series are left out because of max_series?",
            (Query(f"sum({merged(f'mq_series_dropped{{{CHOSEN}}}')})"),),
            width=5,
            height=4,
            bad=1,
        ),
        Panel(
            "stat",
            "Oldest complete data",
            "How long ago did the most overdue task last return complete data?",
            (
                Query(
                    f"max(time() - {merged(f'mq_collect_last_success_timestamp_seconds{{{CHOSEN}}}')})"
                ),
            ),
            unit="s",
            width=5,
            height=4,
            doubtful=180,
            bad=900,
        ),
        Panel(
            "stat",
            "Rejected reloads",
            "How many exporters still use the previous config because the new one was rejected?",
            (Query(f"count(mq_config_last_reload_successful{{{IN_CLUSTER}}} == 0) or vector(0)"),),
            width=4,
            height=4,
            bad=1,
        ),
        Panel(
            "states",
            "Sources up",
            "When could each source be read?",
            (Query(f"topk(50, {UP}{{{CHOSEN}}})", "{{source}} ({{system}}) {{cluster}}"),),
        ),
        Panel(
            "states",
            "Failing tasks",
            "Which tasks failed or returned incomplete data, and when?",
            (Query(f"topk(50, (1 - {merged(f'mq_collect_success{{{CHOSEN}}}')}) == 1)", TASK),),
            may_be_empty="a task failed",
            colours={"/.*/": "red"},
        ),
        Panel(
            "line",
            "Failures within 10 minutes, by reason",
            "Why do tasks fail, and how often?",
            (
                Query(
                    counted("mq_collect_failures_total", "cluster, source, task, reason"),
                    "{{source}} {{task}}: {{reason}} {{cluster}}",
                ),
                Query(
                    counted("mq_rows_unreadable_total", "cluster, source, task"),
                    "{{source}} {{task}}: rows skipped {{cluster}}",
                ),
            ),
            may_be_empty="a task failed",
            decimals=0,
        ),
        Panel(
            "line",
            "Not readable",
            "How many groups are not shown, by kind, and how many subscriptions have a partition that cannot be read?",
            (
                Query(
                    f"max by (cluster, source, kind) (mq_groups_not_shown{{{CHOSEN}}}) > 0",
                    "{{source}}: {{kind}} groups {{cluster}}",
                ),
                Query(
                    f"count by (cluster, source) (subscription:mq_unreadable_partitions:max{{{CHOSEN}}})",
                    "{{source}}: partly unreadable subscriptions {{cluster}}",
                ),
            ),
            may_be_empty="a part of a source cannot be read",
            decimals=0,
        ),
        Panel(
            "line",
            "Task duration",
            "How long did the last run of each task take? A task that takes longer than its interval runs late.",
            (Query(merged(f"mq_collect_duration_seconds{{{CHOSEN}}}"), TASK),),
            unit="s",
        ),
        Panel(
            "line",
            "Restarts of collector processes",
            "How often was the process that reads a source restarted within an hour, after a crash or a task that did not end?",
            (
                Query(
                    merged(f"increase(mq_collector_restarts_total{{{CHOSEN}}}[1h])"),
                    "{{source}} {{cluster}}",
                ),
            ),
            decimals=0,
        ),
        Panel(
            "line",
            "Kafka groups read from __consumer_offsets",
            "How many groups' committed offsets come from the topic instead of their coordinators?",
            (Query(merged(f"mq_commit_stream_groups{{{CHOSEN}}}"), "{{source}} {{cluster}}"),),
            decimals=0,
        ),
        Panel(
            "line",
            "Faults of __consumer_offsets",
            "Within an hour, how often did a coordinator return other offsets than the topic, and how many records could not be decoded?",
            (
                Query(
                    merged(f"increase(mq_commit_stream_disagreements_total{{{CHOSEN}}}[1h])"),
                    "disagreements · {{source}} {{cluster}}",
                ),
                Query(
                    merged(f"increase(mq_commit_stream_unknown_records_total{{{CHOSEN}}}[1h])"),
                    "unknown records · {{source}} {{cluster}}",
                ),
            ),
            decimals=0,
        ),
        Row("Process"),
        Panel(
            "line",
            "CPU",
            "How many CPU cores does the daemon use? The processes that read the sources are not included.",
            (
                Query(
                    f"rate(process_cpu_seconds_total[$__rate_interval]) {OURS}",
                    INSTANCE,
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "line",
            "Memory",
            "How much resident memory does the daemon use? The processes that read the sources are not included.",
            (
                Query(
                    f"process_resident_memory_bytes {OURS}",
                    INSTANCE,
                ),
            ),
            unit="bytes",
        ),
        Panel(
            "line",
            "Scrape duration",
            "How long does a scrape take?",
            (
                Query(
                    f"scrape_duration_seconds {OURS}",
                    INSTANCE,
                ),
            ),
            unit="s",
        ),
        Panel(
            "line",
            "Samples per scrape",
            "How many samples does a scrape return?",
            (
                Query(
                    f"scrape_samples_scraped {OURS}",
                    INSTANCE,
                ),
            ),
        ),
    ),
)
