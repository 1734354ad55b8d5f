//! The configuration of an image. All of it is data; only what commands may start with is kept.

use super::digest::Digest;
use super::failure::{Outcome, quoted, refused};
use super::limits;
use bulkhead_protocol::image::{ImageDefaults, MAX_IMAGE_ENV, MAX_IMAGE_TEXT, env_bytes};
use serde::Deserialize;

/// What is read of it. `Entrypoint`, `Cmd`, `Labels`, `Volumes`, `StopSignal`, `Healthcheck`, `OnBuild` and the rest
/// are instructions to somebody else: nothing here runs or mounts by them.
#[derive(Debug, Deserialize)]
struct Config {
    architecture: String,
    os: String,
    #[serde(default)]
    config: Option<Execution>,
    rootfs: RootFs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Execution {
    #[serde(default)]
    env: Option<Vec<String>>,
    #[serde(default)]
    working_dir: Option<String>,
    #[serde(default)]
    user: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    r#type: String,
    diff_ids: Vec<String>,
}

/// What an image is made of, and what it says of commands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) diff_ids: Vec<Digest>,
    pub(crate) defaults: ImageDefaults,
}

pub(crate) fn parse(bytes: &[u8]) -> Outcome<Described> {
    let config: Config = match serde_json::from_slice(bytes) {
        Ok(config) => config,
        Err(error) => return refused(format!("the configuration is not understood: {error}")),
    };
    if (config.os.as_str(), config.architecture.as_str()) != ("linux", "amd64") {
        let (os, architecture) = (quoted(config.os.as_bytes()), quoted(config.architecture.as_bytes()));
        return refused(format!("the image is for {os} on {architecture}; only linux on amd64 runs here"));
    }
    if config.rootfs.r#type != "layers" {
        return refused("the image is not made of layers");
    }
    if config.rootfs.diff_ids.len() > limits::LAYERS {
        let count = config.rootfs.diff_ids.len();
        return refused(format!("the image has {count} layers; {} are allowed", limits::LAYERS));
    }
    let execution = config.config.unwrap_or_default();
    Ok(Described {
        diff_ids: config.rootfs.diff_ids.iter().map(|text| Digest::parse(text)).collect::<Outcome<_>>()?,
        defaults: ImageDefaults {
            env: environment(&execution.env.unwrap_or_default())?,
            working_dir: working_dir(&execution.working_dir.unwrap_or_default())?,
            user: user(&execution.user.unwrap_or_default())?,
        },
    })
}

fn environment(lines: &[String]) -> Outcome<Vec<(String, String)>> {
    let mut all: Vec<(String, String)> = Vec::new();
    for line in lines {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        let start = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !start || !name.bytes().all(is_word) || value.contains('\0') {
            return refused(format!("Env has {}, which is no NAME=VALUE", quoted(line.as_bytes())));
        }
        all.retain(|(earlier, _)| earlier != name);
        all.push((name.to_owned(), value.to_owned()));
    }
    if env_bytes(all.iter().map(|(name, value)| (name, value))) > MAX_IMAGE_ENV {
        return refused(format!("Env has more than {MAX_IMAGE_ENV} bytes"));
    }
    Ok(all)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn working_dir(text: &str) -> Outcome<Option<String>> {
    if text.is_empty() {
        return Ok(None);
    }
    let steps: Vec<_> = text.split('/').filter(|step| !matches!(*step, "" | ".")).collect();
    let plain = text.starts_with('/')
        && text.len() <= MAX_IMAGE_TEXT
        && !text.chars().any(char::is_control)
        && !steps.contains(&"..");
    if !plain {
        return refused(format!("WorkingDir {} is no plain absolute path", quoted(text.as_bytes())));
    }
    Ok(Some(format!("/{}", steps.join("/"))))
}

/// `user[:group]`, each a name or a number below 65,536. A number in another spelling is no name.
fn user(text: &str) -> Outcome<Option<String>> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    if text.is_empty() {
        return Ok(None);
    }
    if is_user(user) && group.is_none_or(is_user) {
        return Ok(Some(text.to_owned()));
    }
    refused(format!("User {} is neither a name nor an id below 65536", quoted(text.as_bytes())))
}

fn is_user(text: &str) -> bool {
    const LONGEST: usize = 32;
    let number = || text.parse::<u16>().is_ok_and(|id| id.to_string() == text);
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    let inside = |byte: u8| letter(byte) || byte.is_ascii_digit() || byte == b'-';
    let name = || text.bytes().next().is_some_and(letter) && text.bytes().all(inside);
    text.len() <= LONGEST && (number() || name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(execution: serde_json::Value) -> Outcome<ImageDefaults> {
        let diff = format!("sha256:{}", "0".repeat(64));
        let config = json!({
            "architecture": "amd64", "os": "linux", "created": "x", "config": execution,
            "rootfs": {"type": "layers", "diff_ids": [diff]},
        });
        parse(config.to_string().as_bytes()).map(|described| described.defaults)
    }

    #[test]
    fn what_commands_start_with_is_kept_and_the_rest_is_not() {
        let defaults = with(json!({
            "Env": ["A=1", "B=x=y", "A=2"], "WorkingDir": "/a//b/", "User": "www-data:33",
            "Entrypoint": ["/bin/evil"], "Cmd": ["x"], "Labels": {"bulkhead.host": "1"}, "StopSignal": "99",
            "Volumes": {"/proc": {}}, "Healthcheck": {"Test": ["CMD-SHELL", "x"]}, "OnBuild": ["RUN x"],
        }));
        let wanted = ImageDefaults {
            env: vec![("B".into(), "x=y".into()), ("A".into(), "2".into())],
            working_dir: Some("/a/b".into()),
            user: Some("www-data:33".into()),
        };
        assert_eq!(defaults.unwrap(), wanted);
        assert_eq!(with(json!(null)).unwrap(), ImageDefaults::default());
        assert_eq!(
            with(json!({"Env": null, "User": "", "WorkingDir": ""})).unwrap(),
            ImageDefaults::default()
        );
    }

    #[test]
    fn what_is_not_plain_is_refused() {
        for user in
            ["65536", "-1", "0x0", " 0", "+0", "0:0:0", "root\n", "00", "4294967296", "Root", ":0", "0:"]
        {
            assert!(with(json!({"User": user})).is_err(), "{user}");
        }
        for directory in ["a", "/a/../b", "/proc/self/fd/8/..", "/a\n"] {
            assert!(with(json!({"WorkingDir": directory})).is_err(), "{directory}");
        }
        for line in ["", "=x", "A B=1", "1A=x", "A=\0"] {
            assert!(with(json!({"Env": [line]})).is_err(), "{line}");
        }
        // What is escaped counts as it travels.
        for (unit, most) in [("x", MAX_IMAGE_ENV), ("\u{1}", MAX_IMAGE_ENV / 6)] {
            assert!(with(json!({"Env": [format!("A={}", unit.repeat(most))]})).is_err());
            assert!(with(json!({"Env": [format!("A={}", unit.repeat(most - 16))]})).is_ok());
        }
        for text in ["", "[]", "{}", "{\"os\":\"linux\"}"] {
            assert!(parse(text.as_bytes()).is_err());
        }
    }
}
