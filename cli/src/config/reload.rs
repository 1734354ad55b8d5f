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
    // Every field by its name, so that nobody adds one without saying here what a change of it needs.
    let Settings {
        listen,
        state_dir,
        run_dir,
        agent,
        metrics_listen,
        cgroup_parent,
        image_sweep,
        layers,
        vsock_agents,
        gateway_uid,
        log_format,
        images,
        // Taken over at once, by the one half or the other.
        pool: _,
        on_stop: _,
        memory_overcommit: _,
        register: _,
        tls: _,
        log: _,
        quota: _,
        // No key of the configuration.
        supervisor: _,
    } = old;
    let both = [
        ("state-dir", *state_dir != new.state_dir),
        ("run-dir", *run_dir != new.run_dir),
        ("gateway-user", *gateway_uid != new.gateway_uid),
        ("log-format", *log_format != new.log_format),
    ];
    let own = match half {
        Half::Runtime => vec![
            ("agent", *agent != new.agent),
            ("cgroup-parent", *cgroup_parent != new.cgroup_parent),
            ("image-sweep", *image_sweep != new.image_sweep),
            ("layers", *layers != new.layers),
            ("images", *images != new.images),
        ],
        Half::Gateway => {
            vec![
                ("listen", *listen != new.listen),
                ("metrics-listen", *metrics_listen != new.metrics_listen),
                ("vsock-agents", *vsock_agents != new.vsock_agents),
            ]
        }
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
        let text = "listen = '127.0.0.1:1'\nrun-dir = '/r'\nagent = '/a'\npool = 3\nlog = 'debug'\n\
            cgroup-parent = '/x.slice'\nimage-sweep = 7\nlayers = 'per-tenant'\nvsock-agents = 'on'";
        let new = flags.settings_with(Some(text)).unwrap();
        assert_eq!(needs_restart(Half::Gateway, &old, &new), ["run-dir", "listen", "vsock-agents"]);
        assert_eq!(
            needs_restart(Half::Runtime, &old, &new),
            ["run-dir", "agent", "cgroup-parent", "image-sweep", "layers"]
        );
        assert!(needs_restart(Half::Runtime, &old, &old).is_empty());
    }

    #[test]
    fn a_change_of_what_is_said_of_images_is_one_too() {
        let settings = |text: &str| toml::from_str::<Flags>(text).unwrap().settings().unwrap();
        let (old, new) = (settings("[images.code]\ndeny = ['socket']"), settings("[images.code]\ndeny = []"));
        assert_eq!(needs_restart(Half::Runtime, &old, &new), ["images"]);
        assert!(needs_restart(Half::Gateway, &old, &new).is_empty());
    }
}
