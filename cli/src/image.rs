//! `bulkhead image`: what sandboxes are made of, as the host's operator sees it. Asks the running runtime, as root. What
//! an archive holds is looked at by others, who have no rights.

mod build;
mod meter;
mod pull;

use crate::admin::run_dir;
use crate::args::{ImageCommand, StateDir};
use crate::client::{self, Runtime};
use crate::output;
use anyhow::{Context, anyhow};
use bulkhead_protocol::image::{
    Collected, IMAGE_PAGE, ImageCeilings, ImageName, ImageRow, ImportImage, ImportProgress,
};
use bulkhead_protocol::runtime::{Call, ImagesOf, Reply};
use meter::Meter;
use std::fs::File;
use std::path::Path;

pub(crate) fn run(command: &ImageCommand) -> anyhow::Result<()> {
    match command {
        ImageCommand::Pull { reference, name, source, state } => {
            pull::pull(state, reference, name.as_deref(), source)
        }
        ImageCommand::Import { file, name, state } => {
            let name = match name {
                Some(name) => image_name(name)?,
                None => named_by(file)?,
            };
            let source = File::open(file).with_context(|| format!("open {}", file.display()))?;
            import(&mut connect(state)?, name, source)
        }
        ImageCommand::Build { name, state } => build::build(state, name),
        ImageCommand::List { json, state } => {
            let rows = list(&mut connect(state)?)?;
            if *json {
                output::line(serde_json::to_string_pretty(&rows)?)?;
            } else {
                rows.iter().try_for_each(print)?;
            }
            Ok(())
        }
        ImageCommand::Rm { name, state } => {
            let image = image_name(name)?;
            match connect(state)?.call(Call::RemoveImage { org: None, image })? {
                Reply::ImageRemoved => Ok(()),
                other => Err(client::unexpected(other)),
            }
        }
        ImageCommand::Inspect { name, state } => {
            let image = image_name(name)?;
            match connect(state)?.call(Call::InspectImage { org: None, image })? {
                Reply::ImageDetails(details) => {
                    output::line(serde_json::to_string_pretty(&details)?)?;
                    Ok(())
                }
                other => Err(client::unexpected(other)),
            }
        }
        ImageCommand::Gc { state } => match connect(state)?.call(Call::CollectImages)? {
            Reply::Collected(Collected { layers, images }) => {
                Ok(output::line(format_args!("{images} images and {layers} layers"))?)
            }
            other => Err(client::unexpected(other)),
        },
    }
}

/// To the server of a state directory.
fn connect(state: &StateDir) -> anyhow::Result<Runtime> {
    Runtime::connect(&run_dir(state)?)
}

fn image_name(text: &str) -> anyhow::Result<ImageName> {
    ImageName::parse(text).with_context(|| format!("name {text}"))
}

/// What a file is called without what says that it is an archive. What is in it is not looked at here.
fn named_by(file: &Path) -> anyhow::Result<ImageName> {
    let mut name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    for ending in [".gz", ".zst", ".bz2", ".xz", ".tgz", ".tar", ".oci"] {
        if let Some(rest) = name.strip_suffix(ending) {
            name.truncate(rest.len());
        }
    }
    ImageName::parse(&name).map_err(|_| anyhow!("{} names no image: say --name", file.display()))
}

/// Hands a source over and shows what becomes of it.
fn import(runtime: &mut Runtime, name: ImageName, source: File) -> anyhow::Result<()> {
    let order = ImportImage { org: None, name, created_by: None, ceilings: ImageCeilings::default() };
    let mut meter = Meter::new("unpack");
    let row = runtime.import(order, source.into(), &mut |progress| match progress {
        ImportProgress::Layer { number, of, done, total } => meter.layer(number, of, done, total),
        ImportProgress::Assembling => meter.say("put together"),
        // The answer says it as well.
        ImportProgress::Refused(_) => {}
    })?;
    print(&row)?;
    Ok(())
}

fn list(runtime: &mut Runtime) -> anyhow::Result<Vec<ImageRow>> {
    let mut all = Vec::new();
    loop {
        let skip = u64::try_from(all.len())?;
        let page = match runtime.call(Call::ListImages { of: ImagesOf::All, skip })? {
            Reply::Images(page) => page,
            other => return Err(client::unexpected(other)),
        };
        let last = page.len() < IMAGE_PAGE;
        all.extend(page);
        if last {
            return Ok(all);
        }
    }
}

/// Name, owner, id, bytes, layers.
fn print(row: &ImageRow) -> std::io::Result<()> {
    let owner = row.org.as_deref().unwrap_or("host");
    output::line(format_args!("{}\t{owner}\t{}\t{}\t{}", row.name, row.id, row.bytes, row.layers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_its_image() {
        for (file, name) in [
            ("/tmp/python.tar", "python:latest"),
            ("App-1.2.tar.gz", "app-1.2:latest"),
            ("layout", "layout:latest"),
            ("x.tgz", "x:latest"),
        ] {
            assert_eq!(named_by(Path::new(file)).unwrap().as_str(), name, "{file}");
        }
        for file in ["/", ".tar", "a b.tar", "..", "\u{e9}.tar"] {
            assert!(named_by(Path::new(file)).is_err(), "{file}");
        }
    }
}
