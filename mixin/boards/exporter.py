"""The exporter itself: whether it reads everything, in time, and its cost."""

from __future__ import annotations

from mixin.alerts import UP, merged
from mixin.boards.model import CHOSEN, SOURCE, SYSTEM, Board, Panel, Query, Row, rate

TASK = "{{source}} {{task}}"

BOARD = Board(
    uid="mq-exporter",
    title="Message queues / Exporter",
    description=(
        "State of the exporter: which sources it can read, how long that takes, and how much CPU "
        "and memory it uses."
    ),
    variables=(SYSTEM, SOURCE),
    content=(
        Panel(
            "stat",
            "Exporters",
            "How many exporters are scraped, and which versions are they?",
            (Query("count by (version) (mq_exporter_build_info)", "{{version}}"),),
            width=5,
            height=4,
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
                    f"max(time() - "
                    f"{merged(f'mq_collect_last_success_timestamp_seconds{{{CHOSEN}}}')})"
                ),
            ),
            unit="s",
            width=5,
            height=4,
            bad=900,
        ),
        Panel(
            "stat",
            "Rejected config reloads",
            "How many exporters still use the previous config because the new one was rejected?",
            (Query("count(mq_config_last_reload_successful == 0) or vector(0)"),),
            width=4,
            height=4,
            bad=1,
        ),
        Panel(
            "states",
            "Sources up",
            "When could each source be read?",
            (Query(f"{UP}{{{CHOSEN}}} == 1", "{{source}} ({{system}})"),),
            good=True,
        ),
        Panel(
            "states",
            "Failing tasks",
            "Which tasks failed or returned incomplete data, and when?",
            (Query(f"(1 - {merged(f'mq_collect_success{{{CHOSEN}}}')}) == 1", TASK),),
            may_be_empty="a task failed",
        ),
        Panel(
            "line",
            "Failures by reason",
            "Why do tasks fail?",
            (
                Query(
                    rate("mq_collect_failures_total", CHOSEN, "source, task, reason") + " > 0",
                    "{{source}} {{task}}: {{reason}}",
                ),
                Query(
                    rate("mq_rows_unreadable_total", CHOSEN, "source, task") + " > 0",
                    "{{source}} {{task}}: rows skipped",
                ),
            ),
            unit="cps",
            may_be_empty="a task failed",
        ),
        Panel(
            "line",
            "Not readable",
            "How many groups are not shown, by kind, and how many subscriptions have a partition "
            "that cannot be read?",
            (
                Query(
                    f"max by (source, kind) (mq_groups_not_shown{{{CHOSEN}}}) > 0",
                    "{{source}}: {{kind}} groups",
                ),
                Query(
                    f"count by (source) (subscription:mq_unreadable_partitions:max{{{CHOSEN}}})",
                    "{{source}}: partly unreadable subscriptions",
                ),
            ),
            may_be_empty="a part of a source cannot be read",
        ),
        Panel(
            "line",
            "Task duration",
            "How long did the last run of each task take? A task that takes longer than its "
            "interval runs late.",
            (Query(merged(f"mq_collect_duration_seconds{{{CHOSEN}}}"), TASK),),
            unit="s",
        ),
        Panel(
            "line",
            "Restarts of collector processes",
            "How often was the process that reads a source restarted within an hour, after a crash "
            "or a task that did not end?",
            (
                Query(
                    merged(f"increase(mq_collector_restarts_total{{{CHOSEN}}}[1h])"), "{{source}}"
                ),
            ),
        ),
        Row("Process"),
        Panel(
            "line",
            "CPU",
            "How many CPU cores does the daemon use? The processes that read the sources are not "
            "included.",
            (
                Query(
                    "rate(process_cpu_seconds_total[$__rate_interval]) and on (job, instance) "
                    "mq_exporter_build_info",
                    "{{instance}}",
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "line",
            "Memory",
            "How much resident memory does the daemon use? The processes that read the sources are "
            "not included.",
            (
                Query(
                    "process_resident_memory_bytes and on (job, instance) mq_exporter_build_info",
                    "{{instance}}",
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
                    "scrape_duration_seconds and on (job, instance) mq_exporter_build_info",
                    "{{instance}}",
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
                    "scrape_samples_scraped and on (job, instance) mq_exporter_build_info",
                    "{{instance}}",
                ),
            ),
        ),
    ),
)
