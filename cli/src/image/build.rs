//! `bulkhead image build`: runs a recipe that comes with the product, and imports the archive that it leaves.

use super::{connect, image_name, import};
use crate::args::StateDir;
use anyhow::{Context, bail};
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where recipes lie, seen from the directory of this program: installed, and in the repository.
const PLACES: [&str; 2] = ["../share/bulkhead/recipes", "../../rootfs/recipes"];

pub(super) fn build(state: &StateDir, name: &str) -> anyhow::Result<()> {
    let image = image_name(name)?;
    let recipe = recipe(name)?;
    let mut runtime = connect(state)?;
    let above = state.state_dir.join(super::pull::DIR);
    let dir = above.join(format!("build-{}", std::process::id()));
    DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(&dir)
        .with_context(|| format!("make {}", dir.display()))?;
    let archive = dir.join("image.tar");
    let built = run(&recipe, &archive).and_then(|()| {
        let archive = File::open(&archive).with_context(|| format!("open {}", archive.display()))?;
        import(&mut runtime, image, archive)
    });
    fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
    built
}

/// The script of a recipe.
fn recipe(name: &str) -> anyhow::Result<PathBuf> {
    if !name.bytes().all(|byte| byte.is_ascii_lowercase()) {
        bail!("there is no recipe {name}");
    }
    let program = std::env::current_exe().context("find this program")?;
    let beside = program.parent().unwrap_or(Path::new("/"));
    let found = PLACES.iter().map(|place| beside.join(place).join(name)).find(|path| path.is_file());
    found.with_context(|| format!("there is no recipe {name}"))
}

/// A recipe writes its archive to the path that it is given.
fn run(recipe: &Path, archive: &Path) -> anyhow::Result<()> {
    let status = Command::new("bash").arg(recipe).arg(archive).stdin(Stdio::null()).status();
    let status = status.with_context(|| format!("run {}", recipe.display()))?;
    if status.success() { Ok(()) } else { bail!("the recipe failed: {status}") }
}
