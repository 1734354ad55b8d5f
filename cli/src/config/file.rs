//! The file: TOML, its keys the flags' names. Every key is read by itself, so that all mistakes are told at once.

use super::{Faults, Flags, Images, Path};
use std::collections::BTreeMap;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table};

/// The tables of images.
const IMAGES: &str = "images";

/// What a file says, and what is wrong with it; what is wrong is left out.
pub(super) fn read(path: &Path, wanted: Images) -> (Flags, Faults) {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&path.display().to_string(), &text, wanted),
        Err(error) => (Flags::default(), Faults(vec![format!("{}: {error}", path.display())])),
    }
}

/// What a text says, and what is wrong with it; `name` is the file's.
pub(super) fn parse(name: &str, text: &str, wanted: Images) -> (Flags, Faults) {
    let place = |offset: usize| {
        let before = &text.as_bytes()[..offset.min(text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("{name}:{line}")
    };
    let mut faults = Faults::default();
    let (table, broken) = DeTable::parse_recoverable(text);
    for error in broken {
        let at = error.span().map_or(0, |span| span.start);
        faults.0.push(format!("{}: {}", place(at), error.message()));
    }
    let mut good = Table::new();
    let mut entries: Vec<_> = table.into_inner().into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let at = place(key.span().start);
        if key.get_ref() == IMAGES {
            if wanted == Images::Checked {
                images(value, &place, &mut good, &mut faults);
            }
            continue;
        }
        match alone(key.get_ref(), value) {
            Ok(one) => good.extend(one),
            Err(reason) => faults.0.push(format!("{at}: {}: {reason}", key.get_ref())),
        }
    }
    let flags = faults.note(good.try_into().map_err(anyhow::Error::new), Flags::default());
    (flags, faults)
}

/// Reads settings of images one by one, and puts what is good into `good`.
fn images(
    value: Spanned<DeValue<'_>>,
    place: &dyn Fn(usize) -> String,
    good: &mut Table,
    faults: &mut Faults,
) {
    let at = value.span().start;
    let DeValue::Table(all) = value.into_inner() else {
        return faults.0.push(format!("{}: {IMAGES}: must be a table for each image", place(at)));
    };
    let mut images = Table::new();
    for (name, settings) in all {
        let (at, name) = (settings.span().start, name.into_inner());
        let DeValue::Table(settings) = settings.into_inner() else {
            faults.0.push(format!("{}: {IMAGES}.{name}: must be a table", place(at)));
            continue;
        };
        let mut image = Table::new();
        let mut entries: Vec<_> = settings.into_iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let at = place(key.span().start);
            match of_image(&name, key.get_ref(), value) {
                Ok(one) => image.extend(one),
                Err(reasons) => faults.0.extend(reasons.lines().map(|reason| format!("{at}: {reason}"))),
            }
        }
        images.insert(name.into_owned(), image.into());
    }
    good.insert(IMAGES.to_owned(), images.into());
}

/// A table of this one setting of this image, if it is one.
fn of_image(name: &str, key: &str, value: Spanned<DeValue<'_>>) -> Result<Table, String> {
    use serde::Deserialize;
    use serde::de::IntoDeserializer;
    let plain = |error: &toml::de::Error| {
        let reason = error.message().lines().next().unwrap_or_default().to_owned();
        format!("{IMAGES}.{name}.{key}: {reason}")
    };
    let value = toml::Value::deserialize(value.into_deserializer()).map_err(|error| plain(&error))?;
    let table = Table::from_iter([(key.to_owned(), value)]);
    let settings = table.clone().try_into().map_err(|error| plain(&error))?;
    let alone = Flags { images: BTreeMap::from([(name.to_owned(), settings)]), ..Flags::default() };
    alone.settings().map(|_| table).map_err(|faults| faults.to_string())
}

/// A table of this one setting, if it is one.
fn alone(key: &str, value: Spanned<DeValue<'_>>) -> Result<Table, String> {
    use serde::Deserialize;
    use serde::de::IntoDeserializer;
    let value =
        toml::Value::deserialize(value.into_deserializer()).map_err(|error| error.message().to_owned())?;
    let table = Table::from_iter([(key.to_owned(), value)]);
    let plain = |error: toml::de::Error| error.message().lines().next().unwrap_or_default().to_owned();
    let alone = table.clone().try_into::<Flags>().map_err(plain)?;
    let mut faults = Faults::default();
    drop(alone.values(&mut faults));
    match faults.0.is_empty() {
        true => Ok(table),
        false => Err(faults.to_string().trim_start_matches(&format!("{key}: ")).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::OnStop;
    use super::*;

    #[test]
    fn a_file_takes_the_flags_names() {
        let (flags, faults) =
            parse("f", "listen = '127.0.0.1:1'\non-stop = 'destroy'\npool = 3", Images::Checked);
        assert_eq!(faults, Faults::default());
        assert_eq!((flags.on_stop, flags.pool), (Some(OnStop::Destroy), Some(3)));
    }

    #[test]
    fn each_mistake_is_told_with_its_line() {
        let text = "lisen = '127.0.0.1:1'\npool = 'many'\n\non-stop = 'maybe'\nrun-dir = '/r'\nmemory-overcommit = 0.0";
        let (flags, faults) = parse("f", text, Images::Checked);
        assert_eq!(flags.run_dir, Some("/r".into()));
        let lines: Vec<_> =
            faults.0.iter().map(|fault| fault.split(": ").take(2).collect::<Vec<_>>()).collect();
        assert_eq!(
            lines,
            [["f:1", "lisen"], ["f:2", "pool"], ["f:4", "on-stop"], ["f:6", "memory-overcommit"]],
            "{faults}"
        );
        assert!(faults.0[3].ends_with(": must be from 0.01 to 1000"), "{faults}");
    }

    #[test]
    fn each_mistake_about_an_image_is_told_with_its_line() {
        let text = "pool = 1\n[images.code]\nenv = { A = 'b' }\nmounts = { '/m' = '/etc', '/n' = '/proc' }\n\
            deny = ['nothing']\nseccomp = 1\n[images.'b@d']\nenv = { A = 'b' }\n[images.code.limits]\npids = 'x'\n";
        let (flags, faults) = parse("f", text, Images::Checked);
        let lines: Vec<_> =
            faults.0.iter().map(|fault| fault.split(": ").take(2).collect::<Vec<_>>().join(" ")).collect();
        let wanted = [
            "f:4 images.code.mounts",
            "f:4 images.code.mounts",
            "f:5 images.code.deny",
            "f:6 images.code.seccomp",
            "f:9 images.code.limits",
            "f:8 images.b@d",
        ];
        let (mut lines, mut wanted) = (lines, wanted.map(str::to_owned));
        lines.sort();
        wanted.sort();
        assert_eq!(lines, wanted, "{faults}");
        assert_eq!(flags.images["code"].env["A"], "b");
        assert_eq!(parse("f", text, Images::PassedOver).1, Faults::default());
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        let (_, faults) = parse("f", "pool = 1\nlisten = = 2\n", Images::Checked);
        assert!(faults.0.iter().any(|fault| fault.starts_with("f:2: ")), "{faults}");
    }
}
