//! What a configuration that was read again cannot change while a server runs.

use super::Settings;

/// Which half asks: each says what itself cannot change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    /// The privileged one.
    Runtime,
    /// The other.
    Gateway,
}

/// The keys whose change needs a restart of this half.
pub(crate) fn needs_restart(half: Half, old: &Settings, new: &Settings) -> Vec<&'static str> {
    let both = [
        ("state-dir", old.state_dir != new.state_dir),
        ("run-dir", old.run_dir != new.run_dir),
        ("gateway-user", old.gateway_uid != new.gateway_uid),
        ("log-format", old.log_format != new.log_format),
    ];
    let own = match half {
        Half::Runtime => vec![("agent", old.agent != new.agent), ("layers", old.layers != new.layers)],
        Half::Gateway => vec![
            ("listen", old.listen != new.listen),
            ("metrics-listen", old.metrics_listen != new.metrics_listen),
            ("vsock-agents", old.vsock_agents != new.vsock_agents),
        ],
    };
    let changed = both.into_iter().chain(own).filter(|(_, changed)| *changed);
    changed.map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Flags;
    use super::*;

    #[test]
    fn a_half_names_what_it_cannot_change() {
        let flags = Flags::default();
        let old = flags.settings_with(None).unwrap();
        let text = "listen = '127.0.0.1:1'\nrun-dir = '/r'\nagent = '/a'\npool = 3\nlog = 'debug'\nlayers = 'per-tenant'";
        let new = flags.settings_with(Some(text)).unwrap();
        assert_eq!(needs_restart(Half::Gateway, &old, &new), ["run-dir", "listen"]);
        assert_eq!(needs_restart(Half::Runtime, &old, &new), ["run-dir", "agent", "layers"]);
        assert!(needs_restart(Half::Runtime, &old, &old).is_empty());
    }
}
