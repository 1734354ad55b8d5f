//! `bulkhead image` and `bulkhead fetch` on the command line.

use super::StateDir;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Fetch an image from a registry; one that broke off goes on.
    Pull {
        /// Where it is: repository:tag or repository@digest, with the registry and a slash before it where it is another
        reference: String,
        /// What it is called here [default: repository:tag]
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        state: StateDir,
    },
    /// Make an image of an archive, as `docker save` writes it or of an OCI layout, or of the layout's directory.
    Import {
        /// The archive or directory.
        file: PathBuf,
        /// What it is called [default: the file's name without its endings]
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        state: StateDir,
    },
    /// Make one of the images that the product has a recipe for, and give it the recipe's name.
    Build {
        /// The recipe: code or minimal.
        name: String,
        #[command(flatten)]
        state: StateDir,
    },
    /// List all images.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        state: StateDir,
    },
    /// Take an image of the host away; sandboxes that were made of it keep it.
    Rm {
        /// name or name:tag
        name: String,
        #[command(flatten)]
        state: StateDir,
    },
    /// Print all that is known of an image of the host, as JSON.
    Inspect {
        /// name or name:tag
        name: String,
        #[command(flatten)]
        state: StateDir,
    },
    /// Delete what no name and no sandbox needs.
    Gc {
        #[command(flatten)]
        state: StateDir,
    },
}

/// How a registry is spoken to.
#[derive(Debug, Clone, Args)]
pub(crate) struct Source {
    /// Go without encryption; a registry on this machine always is.
    #[arg(long)]
    pub(crate) insecure_http: bool,
    /// A file with credentials, as `docker login` writes it [default: nobody's]
    #[arg(long)]
    pub(crate) auth_file: Option<PathBuf>,
}

/// What a fetch is started with.
#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// Where it is: repository:tag or repository@digest, with the registry and a slash before it where it is another
    pub(crate) reference: String,
    /// An existing directory, which becomes an OCI layout.
    #[arg(long)]
    pub(crate) to: PathBuf,
    #[command(flatten)]
    pub(crate) source: Source,
    /// Pid of who waits for it: it ends when that is gone.
    #[arg(long)]
    pub(crate) parent: Option<i32>,
}
