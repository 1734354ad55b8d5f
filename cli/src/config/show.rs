//! `bulkhead config show`: a configuration file of what is in force, with the meaning of every setting.

use super::{Flags, Refusal, Settings};
use crate::output;
use anyhow::Context;
use clap::Args;
use std::fmt::Write;

/// What can be said of images, with its defaults and units.
const IMAGES: &str = r#"# What holds for sandboxes of an image, by its name, whoever's it is [default: nothing]
# [images.code]
# Directories of the host shown read-only: the place in a sandbox, and which; files of users of the host belong to nobody
# mounts = { "/models" = "/srv/models" }
# Variables of commands, over those of the image; what a tenant says wins
# env = { MODELS = "/models" }
# System calls that commands are refused on top of those that all are
# deny = ["socket"]
# The most that a sandbox gets, in MiB and processors; who asks for more gets this
# limits = { memory-mib = 2048, cpus = 1.5, pids = 256, disk-mib = 1024 }
"#;

/// Prints it.
pub(crate) fn show(flags: &Flags) -> anyhow::Result<()> {
    let settings = flags.settings().context(Refusal)?;
    Ok(output::line(text(&in_force(flags, settings))?.trim_end())?)
}

/// Every setting that has a value.
fn in_force(flags: &Flags, settings: Settings) -> Flags {
    let given = flags.given();
    Flags {
        listen: Some(settings.listen),
        state_dir: Some(settings.state_dir),
        run_dir: Some(settings.run_dir),
        agent: Some(settings.agent),
        pool: Some(settings.pool),
        metrics_listen: settings.metrics_listen,
        on_stop: Some(settings.on_stop),
        memory_overcommit: given.memory_overcommit,
        cgroup_parent: given.cgroup_parent,
        image_sweep: Some(settings.image_sweep.as_secs()),
        layers: Some(settings.layers),
        register: Some(settings.register),
        vsock_agents: Some(settings.vsock_agents),
        tls_certificate: settings.tls.as_ref().map(|files| files.certificate.clone()),
        tls_key: settings.tls.map(|files| files.key),
        log: Some(settings.log),
        log_format: Some(settings.log_format),
        quota_sandboxes: settings.quota.sandboxes,
        quota_cpus: settings.quota.cpu_millis.map(|millis| millis / 1000),
        quota_memory_mib: settings.quota.memory_mib,
        quota_executions: settings.quota.executions,
        quota_streams: settings.quota.streams,
        quota_bytes_per_second: settings.quota.bytes_per_second,
        quota_requests_per_second: settings.quota.requests_per_second,
        quota_images: settings.quota.images,
        quota_image_mib: settings.quota.image_mib,
        gateway_user: given.gateway_user,
        images: given.images,
        config: None,
        supervisor: None,
    }
}

/// The file: each setting under its help; one without a value as a comment.
fn text(values: &Flags) -> anyhow::Result<String> {
    let values = toml::Table::try_from(values).context("write the settings down")?;
    let described = Flags::augment_args(clap::Command::new("settings"));
    let mut text = String::new();
    for setting in described.get_arguments().filter(|setting| !setting.is_hide_set()) {
        let name = setting.get_id().as_str().replace('_', "-");
        if name == "config" {
            continue;
        }
        let help = setting.get_help().map(ToString::to_string).unwrap_or_default();
        match values.get(&name) {
            Some(value) => writeln!(text, "# {help}\n{name} = {value}\n")?,
            None => writeln!(text, "# {help}\n# {name} =\n")?,
        }
    }
    writeln!(text, "{IMAGES}")?;
    if let Some(images) = values.get("images") {
        write!(text, "{}", toml::Table::from_iter([("images".to_owned(), images.clone())]))?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_a_file_that_says_the_same() {
        let flags = Flags { pool: Some(7), memory_overcommit: Some(1.5), ..Flags::default() };
        let shown = text(&in_force(&flags, flags.settings().unwrap())).unwrap();
        assert!(shown.contains("# Sandboxes made ahead, at most 256 [default: 0]\npool = 7\n"), "{shown}");
        let read: Flags = toml::from_str(&shown).unwrap();
        assert_eq!((read.pool, read.memory_overcommit), (Some(7), Some(1.5)));
        assert!(shown.contains("\nlayers = \"shared\"\n"), "{shown}");
        assert!(shown.contains("# metrics-listen =\n"));
        let images = "[images.code]\nenv = { A = 'b' }\nlimits = { pids = 40 }";
        let flags = Flags { images: toml::from_str::<Flags>(images).unwrap().images, ..flags };
        let shown = text(&in_force(&flags, flags.settings().unwrap())).unwrap();
        assert!(shown.contains("[images.code"), "{shown}");
        // Beside what the file says, images come from nowhere.
        let lines: Vec<_> = shown.lines().filter_map(|line| line.strip_prefix("# ")).collect();
        assert!(lines.contains(&"deny = [\"socket\"]"), "{shown}");
    }
}
