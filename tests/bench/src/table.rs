//! The figures that are promised, as one table: what was measured, beside its peer of the same run and its target.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What a figure may be.
#[derive(Debug, Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}
use Bound::{AtLeast, AtMost};

/// One line: which figure of which run is held against which bound.
struct Row {
    figure: &'static str,
    what: &'static str,
    run: &'static str,
    /// Where the figure stands in the report.
    at: &'static str,
    /// What is printed behind it.
    unit: &'static str,
    bound: Bound,
    /// Where both sides of a ratio stand, and their unit.
    sides: Option<(&'static str, &'static str, &'static str)>,
}

const MS: &str = "ms";
const ROWS: [Row; 22] = [
    row(
        "F1",
        "create → ready over HTTP, p50, beside `crun run … true`",
        "create",
        "/ratios/create~1crun_fair",
        AtMost(0.4),
    )
    .beside("/results/create/p50_ms", "/results/crun_fair/p50_ms", MS),
    row("F1", "its p99 beside its p50", "create", "/ratios/create p99~1p50", AtMost(3.0)).beside(
        "/results/create/p99_ms",
        "/results/create/p50_ms",
        MS,
    ),
    row("F1", "the same from a pool of 16", "create_pool", "/ratios/create~1crun_fair", AtMost(0.125))
        .beside("/results/create/p50_ms", "/results/crun_fair/p50_ms", MS),
    row("F1", "its p99 beside its p50", "create_pool", "/ratios/create p99~1p50", AtMost(3.0)).beside(
        "/results/create/p99_ms",
        "/results/create/p50_ms",
        MS,
    ),
    row("", "wake of one that sleeps, p50", "wake", "/results/wake/p50_ms", AtMost(10.0)).in_unit(MS),
    row(
        "F2",
        "`exec true` over HTTP, p50, beside a spawn of `bash -c true`",
        "exec",
        "/ratios/exec_true~1bash_true",
        AtMost(2.0),
    )
    .beside("/results/exec_true/p50_ms", "/results/bash_true/p50_ms", MS),
    row(
        "F3",
        "exec over 16 connections, rate beside bare spawns",
        "throughput",
        "/ratios/rate exec_true~1bash_true",
        AtLeast(0.45),
    )
    .beside("/rates/exec_true_per_s", "/rates/bash_true_per_s", "/s"),
    row(
        "F3",
        "processor time of one exec beside a bare spawn",
        "throughput",
        "/ratios/cpu exec_true~1bash_true",
        AtMost(2.0),
    )
    .beside("/cpu/exec_true_ms", "/cpu/bash_true_ms", MS),
    row("F4", "memory of an idle sandbox, of 1,000", "density", "/memory/each_kib", AtMost(2048.0))
        .in_unit("KiB"),
    row(
        "F5",
        "create, the last of 1,000 beside the first",
        "density",
        "/ratios/create_last~1create_first",
        AtMost(1.5),
    )
    .beside("/results/create_last/p50_ms", "/results/create_first/p50_ms", MS),
    row(
        "F5",
        "exec with 1,000 beside exec with 20",
        "density",
        "/ratios/exec_with_all~1exec_with_few",
        AtMost(1.5),
    )
    .beside("/results/exec_with_all/p50_ms", "/results/exec_with_few/p50_ms", MS),
    row(
        "F5",
        "list with 1,000 beside list with 20",
        "density",
        "/ratios/list_with_all~1list_with_few",
        AtMost(1.5),
    )
    .beside("/results/list_with_all/p50_ms", "/results/list_with_few/p50_ms", MS),
    row(
        "F6",
        "1 GiB through exec-stream, beside plain hyper",
        "stream",
        "/ratios/rate exec_stream_text~1hyper_plain",
        AtLeast(0.5),
    )
    .beside("/mib_per_s/exec_stream_text/median", "/mib_per_s/hyper_plain/median", "MiB/s"),
    row(
        "F6",
        "1 GiB of download, beside plain hyper",
        "download",
        "/ratios/rate download~1hyper_plain",
        AtLeast(0.5),
    )
    .beside("/mib_per_s/download/median", "/mib_per_s/hyper_plain/median", "MiB/s"),
    row(
        "F6",
        "1 GiB of upload, beside plain hyper",
        "upload",
        "/ratios/rate upload~1hyper_plain",
        AtLeast(0.5),
    )
    .beside("/mib_per_s/upload/median", "/mib_per_s/hyper_plain/median", "MiB/s"),
    row("F7", "echo of a terminal, p50", "pty", "/results/pty_cat/p50_ms", AtMost(1.0)).in_unit(MS),
    row("", "list of 100,000 files, beside `ls -l`", "trees", "/ratios/list~1ls_l", AtMost(2.0)),
    row("", "search of 200,000 files, beside `find`", "trees", "/ratios/search~1find_name", AtMost(2.0)),
    row(
        "",
        "create of an image of 5 MiB, beside the built-in one",
        "images",
        "/ratios/create_5_mib~1create_built_in",
        AtMost(1.1),
    )
    .beside("/results/create_5_mib/p50_ms", "/results/create_built_in/p50_ms", MS),
    row(
        "",
        "create of an image of 500 MiB",
        "images",
        "/ratios/create_500_mib~1create_built_in",
        AtMost(1.1),
    )
    .beside("/results/create_500_mib/p50_ms", "/results/create_built_in/p50_ms", MS),
    row(
        "",
        "create of an image of 60 layers",
        "images",
        "/ratios/create_60_layers~1create_built_in",
        AtMost(1.1),
    )
    .beside("/results/create_60_layers/p50_ms", "/results/create_built_in/p50_ms", MS),
    row("", "import of 500 MiB, beside `gzip -dc \\| tar xf`", "images", "/ratios/import~1tar", AtMost(1.0))
        .beside("/results/import/p50_ms", "/results/tar/p50_ms", MS),
];

const fn row(
    figure: &'static str,
    what: &'static str,
    run: &'static str,
    at: &'static str,
    bound: Bound,
) -> Row {
    Row { figure, what, run, at, unit: "×", bound, sides: None }
}

impl Row {
    const fn in_unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    const fn beside(mut self, ours: &'static str, theirs: &'static str, unit: &'static str) -> Self {
        self.sides = Some((ours, theirs, unit));
        self
    }

    fn write(&self, out: &mut String, report: &Value) {
        let number = |at: &str| report.pointer(at).and_then(Value::as_f64);
        let (target, met) = match self.bound {
            AtMost(most) => (format!("≤ {most}"), number(self.at).map(|found| found <= most)),
            AtLeast(least) => (format!("≥ {least}"), number(self.at).map(|found| found >= least)),
        };
        let found = number(self.at)
            .map_or_else(|| "not measured".to_owned(), |found| format!("{found} {}", self.unit));
        let sides = self
            .sides
            .and_then(|(ours, theirs, unit)| Some(format!("{} : {} {unit}", number(ours)?, number(theirs)?)));
        let verdict = match met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "",
        };
        let Self { figure, what, .. } = self;
        let sides = sides.unwrap_or_default();
        writeln!(out, "| {figure} | {what} | {found} | {sides} | {target} | {verdict} |")
            .expect("a String takes all text");
    }
}

/// The table over the reports of these runs, in Markdown.
pub(crate) fn of(reports: &BTreeMap<&str, Value>) -> String {
    let mut out =
        "| | what | measured | ours : peer | target | |\n| --- | --- | --- | --- | --- | --- |\n".to_owned();
    for row in &ROWS {
        row.write(&mut out, reports.get(row.run).unwrap_or(&Value::Null));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_figure_is_held_against_its_bound_and_one_that_is_missing_says_so() {
        let exec = json!({
            "ratios": { "exec_true/bash_true": 1.4 },
            "results": { "exec_true": { "p50_ms": 2.1 }, "bash_true": { "p50_ms": 1.5 } },
        });
        let pty = json!({ "results": { "pty_cat": { "p50_ms": 1.2 } } });
        let table = of(&BTreeMap::from([("exec", exec), ("pty", pty)]));
        let line = |figure: &str| table.lines().find(|line| line.starts_with(figure)).unwrap().to_owned();
        assert!(line("| F2").ends_with("| 1.4 × | 2.1 : 1.5 ms | ≤ 2 | met |"), "{table}");
        assert!(line("| F7").ends_with("| 1.2 ms |  | ≤ 1 | missed |"), "{table}");
        assert!(line("| F4").contains("not measured"), "{table}");
    }
}
