"""The table of a run, which goes into docs/reliability.md."""

import math
import statistics
import time
from collections import Counter

from tests.faults.ledger import KINDS
from tests.faults.run import Run
from tests.faults.usage import WARM, Watch

OF_CLIENTS = (
    "client flaps",
    "clients stop reading",
    "phones asleep",
    "sends doubled",
    "sends repeated",
    "stops",
    "regenerates",
    "edits",
    "continues",
    "continues doubled",
)
OF_TOKENS = ("tokens renewed", "renewals in place", "renewals unheard", "closed 4001", "signed out")


def percentile(values: list[float], share: float) -> float:
    """The smallest value that `share` of them do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(len(ordered) * share)) - 1] if ordered else 0.0


def report(run: Run) -> str:
    """The table that goes into docs/reliability.md."""
    ledger, reckoning = run.ledger, run.reckoning
    lines = ["", "| fault | times | back after (median) | everyone whole after: median, most |"]
    lines.append("| --- | ---: | ---: | ---: |")
    injected = run.schedule.injected
    for kind in run.schedule.faults:
        mine = [one for one in injected if one.kind == kind]
        if mine:
            down = statistics.median(one.down for one in mine)
            whole = [one.recovered for one in mine]
            lines.append(
                f"| {kind} | {len(mine)} | {down:.1f} s |"
                f" {statistics.median(whole):.1f} s, {max(whole):.1f} s |"
            )
    lines += [f"| {name} | {ledger.counts[name]} | | |" for name in OF_CLIENTS]
    lines += [
        f"| {name} | {number} | | |"
        for name, number in sorted(ledger.counts.items())
        if name.startswith("model: ")
    ]
    whole = [one.recovered for one in injected]
    own = [max(0.0, one.recovered - one.down) for one in injected]
    violations = Counter(kind for kind, _ in ledger.violations)
    recover, after = (
        f"{percentile(seconds, 0.5):.1f} s / {percentile(seconds, 0.99):.1f} s"
        for seconds in (whole, own)
    )
    clients = sum(len(room.devices) for room in run.rooms)
    tokens = ", ".join(f"{name}: {ledger.counts[name]}" for name in OF_TOKENS)
    ends = ", ".join(f"{number} {status}" for status, number in sorted(reckoning.ends.items()))
    lines += [
        "",
        "| | |",
        "| --- | ---: |",
        f"| seed, minutes | {run.seed}, {run.minutes:g} |",
        f"| conversations, clients | {len(run.rooms)}, {clients} |",
        f"| faults injected | {len(injected)} + {ledger.counts['client flaps']} flaps |",
        f"| conversations begun afresh | {run.retired} |",
        f"| messages sent | {ledger.counts['messages sent']} |",
        f"| of them, branches | {reckoning.branches} |",
        f"| replies | {reckoning.replies} ({ends}) |",
        f"| continued | {reckoning.continued} |",
        f"| attempts | {reckoning.runs} |",
        f"| sign-ins | {tokens} |",
        f"| tokens | {reckoning.tokens} |",
        *(f"| {kind} | {violations[kind]} |" for kind in KINDS),
        f"| time to recover, p50 / p99 | {recover} |",
        f"| of it after the process was back, p50 / p99 | {after} |",
        f"| quiet after the last | {run.quiet_seconds:.1f} s |",
    ]
    lines += usage_table(run.watch)
    closes = {name: n for name, n in sorted(ledger.counts.items()) if name.startswith("closed")}
    others = ("resync frames", "reconnect frames", "gaps asked for", "merged deltas")
    counted = {**closes, **{name: ledger.counts[name] for name in others}}
    counted |= {name: n for name, n in sorted(ledger.counts.items()) if name.startswith("answers")}
    lines.append("")
    lines.append("Seen by clients: " + ", ".join(f"{name}: {n}" for name, n in counted.items()))
    return "\n".join(lines)


def usage_table(watch: Watch) -> list[str]:
    """Memory and open files of each process: at the beginning, at the end, and the most."""
    lines = [
        "",
        "| process | MB: beginning, end, most | open files: beginning, end, most | at the end |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, usage in watch.usages.items():
        samples = (usage.first, usage.last, usage.most)
        memory = ", ".join(f"{one.memory:.0f}" for one in samples)
        files = ", ".join(str(one.files) for one in samples)
        age = time.monotonic() - usage.since
        since = f"{age:.0f} s old"
        if usage.warm is not None:
            since += f", {usage.last.memory - usage.warm.memory:+.0f} MB since {WARM:.0f} s"
        lines.append(f"| {name} | {memory} | {files} | {since} |")
    return lines
