"""The exporter itself: whether it sees everything, in time, and at what cost."""

from __future__ import annotations

from mixin.alerts import UP, merged
from mixin.boards.model import CHOSEN, SOURCE, SYSTEM, Board, Panel, Query, Row, rate

TASK = "{{source}} {{task}}"

BOARD = Board(
    uid="mq-exporter",
    title="Message queues / Exporter",
    description="How the exporter fares: what it can read, how long that takes, and what it costs.",
    variables=(SYSTEM, SOURCE),
    content=(
        Panel(
            "stat",
            "Exporters",
            "How many exporters are scraped, and of which version?",
            (Query("count by (version) (mq_exporter_build_info)", "{{version}}"),),
            width=5,
            height=4,
        ),
        Panel(
            "stat",
            "Series",
            "How many series do all sources have?",
            (Query(f"sum({merged(f'mq_series{{{CHOSEN}}}')})"),),
            width=5,
            height=4,
        ),
        Panel(
            "stat",
            "Series left out",
            "How many series were left out, for the sake of max_series?",
            (Query(f"sum({merged(f'mq_series_dropped{{{CHOSEN}}}')})"),),
            width=5,
            height=4,
            bad=1,
        ),
        Panel(
            "stat",
            "Oldest whole answer",
            "For how long has the task that fares worst had no whole answer?",
            (
                Query(
                    f"max(time() - {merged(f'mq_collect_last_success_timestamp_seconds{{{CHOSEN}}}')})"
                ),
            ),
            unit="s",
            width=5,
            height=4,
            bad=900,
        ),
        Panel(
            "stat",
            "Configs refused",
            "How many exporters go on with an old config, since the new one is wrong?",
            (Query("count(mq_config_last_reload_successful == 0) or vector(0)"),),
            width=4,
            height=4,
            bad=1,
        ),
        Panel(
            "states",
            "Sources that can be read",
            "Which sources could be read when?",
            (Query(f"{UP}{{{CHOSEN}}} == 1", "{{source}} ({{system}})"),),
            good=True,
        ),
        Panel(
            "states",
            "Tasks that fail",
            "Which tasks had no whole answer when?",
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
                    "{{source}} {{task}}: rows left out",
                ),
            ),
            unit="cps",
            may_be_empty="a task failed",
        ),
        Panel(
            "line",
            "What cannot be read",
            "How many groups of which kind are not shown, and how many subscriptions have a partition that cannot be read?",
            (
                Query(
                    f"max by (source, kind) (mq_groups_not_shown{{{CHOSEN}}}) > 0",
                    "{{source}}: {{kind}} groups",
                ),
                Query(
                    f"count by (source) (subscription:mq_unreadable_partitions:max{{{CHOSEN}}})",
                    "{{source}}: subscriptions known in part",
                ),
            ),
            may_be_empty="a part of a source cannot be read",
        ),
        Panel(
            "line",
            "How long a task takes",
            "How long did the last run of each task take? Longer than its interval means that it comes late.",
            (Query(merged(f"mq_collect_duration_seconds{{{CHOSEN}}}"), TASK),),
            unit="s",
        ),
        Panel(
            "line",
            "Readers replaced",
            "How often did the process that reads a source end by itself within an hour?",
            (
                Query(
                    merged(f"increase(mq_collector_restarts_total{{{CHOSEN}}}[1h])"), "{{source}}"
                ),
            ),
        ),
        Row("The process"),
        Panel(
            "line",
            "Processor",
            "How much of a core does the daemon use? What reads a source is a process of its own, and not in it.",
            (
                Query(
                    "rate(process_cpu_seconds_total[$__rate_interval]) and on (job, instance) mq_exporter_build_info",
                    "{{instance}}",
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "line",
            "Memory",
            "How much memory does the daemon use?",
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
            "A scrape",
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
            "Size of the page",
            "How many samples does a scrape bring?",
            (
                Query(
                    "scrape_samples_scraped and on (job, instance) mq_exporter_build_info",
                    "{{instance}}",
                ),
            ),
        ),
    ),
)
