//! What the runtime counts, as text. It has counted by itself, so there is nothing to count here.

use bulkhead_protocol::stats::Counters;
use std::fmt::{Result, Write};

/// Writes all of it, by the names of the runtime.
pub(super) fn write(out: &mut String, counters: &Counters) -> Result {
    let Counters { launched, failed, died, refused, steps } = counters;
    for (name, help, count) in [
        ("launches", "Launches that succeeded", launched),
        ("launches_failed", "Launches that failed", failed),
        ("launches_refused", "Launches refused for want of room", refused),
        ("agents_died", "Agents that ended unasked", died),
    ] {
        writeln!(out, "# HELP bulkhead_runtime_{name} {help}.\n# TYPE bulkhead_runtime_{name} counter")?;
        writeln!(out, "bulkhead_runtime_{name}_total {count}")?;
    }
    let name = "bulkhead_runtime_launch_step_seconds";
    writeln!(
        out,
        "# HELP {name} Time of the steps of launches.\n# TYPE {name} summary\n# UNIT {name} seconds"
    )?;
    for step in steps {
        // Of our own runtime; still nothing in it ends a label or a line.
        let label: String = step.name.chars().filter(|c| c.is_ascii_lowercase() || *c == ' ').collect();
        let (whole, micros) = (step.sum_us / 1_000_000, step.sum_us % 1_000_000);
        writeln!(out, "{name}_count{{step=\"{label}\"}} {}", step.count)?;
        writeln!(out, "{name}_sum{{step=\"{label}\"}} {whole}.{micros:06}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_protocol::stats::Step;

    #[test]
    fn names_cannot_break_out_of_their_label() {
        let step = Step { name: "id\" maps\n# EOF".to_owned(), count: 2, sum_us: 1_000_250 };
        let mut text = String::new();
        write(&mut text, &Counters { launched: 2, steps: vec![step], ..Counters::default() }).unwrap();
        let end = "_count{step=\"id maps \"} 2\nbulkhead_runtime_launch_step_seconds_sum{step=\"id maps \"} 1.000250\n";
        assert!(text.contains("bulkhead_runtime_launches_total 2\n") && text.ends_with(end), "{text}");
    }
}
