//! `bulkhead doctor`: what this host has and lacks. What it calls missing is what the runtime refuses to start on: one
//! list, put together here from those who know of processes and those who know of disks.

use crate::config::{self, Settings};
use crate::output;
use crate::process::Refusal;
use crate::purge::run_dir_of;
use anyhow::anyhow;
use bulkhead_rootfs::host::{self as roots, Room};
use bulkhead_runtime::host as walls;
use bulkhead_sys::host::{Facts, Finding, Here, State};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Width of the column of states, and of that of names.
const COLUMNS: (usize, usize) = (8, 36);

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// For programs: an array of objects.
    Json,
}

/// One finding as JSON.
#[derive(Debug, Serialize)]
struct Row<'a> {
    what: &'a str,
    state: &'static str,
    found: &'a str,
    /// What to do about it.
    #[serde(skip_serializing_if = "str::is_empty")]
    remedy: &'a str,
}

/// Which instance is looked at.
struct Instance<'a> {
    state_dir: &'a Path,
    run_dir: &'a Path,
    gateway_uid: u32,
}

pub(crate) fn run(state_dir: &Path, form: Form) -> anyhow::Result<()> {
    let state_dir = std::path::absolute(state_dir)?;
    let run_dir = run_dir_of(&state_dir)?.unwrap_or_else(|| PathBuf::from(config::RUN_DIR));
    let gateway_uid = config::usual_gateway_uid()?;
    let instance = Instance { state_dir: &state_dir, run_dir: &run_dir, gateway_uid };
    let mut findings = needed(&Here, &instance);
    findings.extend(walls::advice(&Here, gateway_uid, &bulkhead_sys::lsm::modules()));
    findings.extend(roots::advice(&Here, Room::of(&state_dir)));
    output::line(shown(&findings, form)?.trim_end())?;
    verdict(&findings)
}

/// Refuses to start on a host that lacks something, and says what.
pub(crate) fn refuse(settings: &Settings) -> anyhow::Result<()> {
    let Settings { state_dir, run_dir, gateway_uid, .. } = settings;
    verdict(&needed(&Here, &Instance { state_dir, run_dir, gateway_uid: *gateway_uid }))
}

/// Everything without which a runtime does not start.
fn needed(facts: &dyn Facts, instance: &Instance<'_>) -> Vec<Finding> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut findings = vec![root()];
    findings.extend(walls::walls(facts));
    findings.extend(walls::directories(instance.state_dir, instance.run_dir, instance.gateway_uid));
    findings.extend(roots::walls(facts, &path, Room::of(instance.state_dir)));
    findings
}

fn root() -> Finding {
    if nix::unistd::geteuid().is_root() {
        return Finding::fine("root", "yes");
    }
    Finding::missing("root", "no", "sudo bulkhead ...")
}

fn verdict(findings: &[Finding]) -> anyhow::Result<()> {
    let missing = findings.iter().filter(|finding| finding.state == State::Missing);
    let said: Vec<_> =
        missing.map(|finding| format!("{}: {} ({})", finding.what, finding.found, finding.remedy)).collect();
    if said.is_empty() {
        return Ok(());
    }
    Err(anyhow!("{}", said.join("; ")).context(Refusal))
}

fn word(state: State) -> &'static str {
    match state {
        State::Fine => "ok",
        State::Warning => "warning",
        State::Missing => "missing",
    }
}

fn shown(findings: &[Finding], form: Form) -> anyhow::Result<String> {
    if form == Form::Json {
        let rows: Vec<_> = findings.iter().map(row).collect();
        return Ok(serde_json::to_string_pretty(&rows)? + "\n");
    }
    let (states, names) = COLUMNS;
    let line = |finding: &Finding| {
        let Finding { what, state, found, remedy } = finding;
        let line = format!("{:<states$} {what:<names$} {found}\n", word(*state));
        if remedy.is_empty() { line } else { format!("{line}{:>states$} to do: {remedy}\n", "") }
    };
    Ok(findings.iter().map(line).collect())
}

fn row(finding: &Finding) -> Row<'_> {
    let Finding { what, state, found, remedy } = finding;
    Row { what, state: word(*state), found, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{EXIT_CONFIG, exit_code};

    fn findings() -> Vec<Finding> {
        vec![Finding::fine("kernel", "6.18"), Finding::warning("swap", "on", "swapoff -a")]
    }

    #[test]
    fn a_line_says_what_how_and_what_to_do() {
        let text = shown(&findings(), Form::Text).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["ok", "kernel", "6.18"]);
        assert_eq!(lines[1], ["warning", "swap", "on"]);
        assert_eq!(lines[2], ["to", "do:", "swapoff", "-a"]);
        let json: serde_json::Value = serde_json::from_str(&shown(&findings(), Form::Json).unwrap()).unwrap();
        assert_eq!(json[0], serde_json::json!({"what": "kernel", "state": "ok", "found": "6.18"}));
        assert_eq!(json[1]["remedy"], "swapoff -a");
    }

    #[test]
    fn a_warning_is_no_reason_to_refuse_and_something_missing_is() {
        assert!(verdict(&findings()).is_ok());
        let mut findings = findings();
        findings.push(Finding::missing("loop devices", "no", "modprobe loop"));
        let error = verdict(&findings).unwrap_err();
        assert_eq!(exit_code(&error), std::process::ExitCode::from(EXIT_CONFIG));
        assert!(format!("{error:#}").contains("loop devices: no (modprobe loop)"), "{error:#}");
    }
}
