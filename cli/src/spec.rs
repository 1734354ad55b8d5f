//! `bulkhead spec`: prints the OCI runtime spec that sandboxes are launched from, as the running server composes it.

use crate::admin::run_dir;
use crate::args::SpecArgs;
use crate::client::{self, Runtime};
use anyhow::{Context, anyhow};
use bulkhead_protocol::image::ImageName;
use bulkhead_protocol::limits::{DEFAULT_DISK_BYTES, DEFAULT_OPEN_FILES, DEFAULT_PIDS, MIB};
use bulkhead_protocol::runtime::{Call, Reply, SpecOf};
use bulkhead_protocol::{Limits, SandboxId};

/// The ceilings of who asks for none.
const USUAL: Limits = Limits {
    memory_bytes: 1024 * MIB,
    cpu_millis: 1000,
    pids: DEFAULT_PIDS,
    open_files: DEFAULT_OPEN_FILES,
    disk_bytes: DEFAULT_DISK_BYTES,
};

pub(crate) fn run(args: &SpecArgs) -> anyhow::Result<()> {
    let of = match &args.sandbox {
        Some(id) => {
            SpecOf::Sandbox { id: SandboxId::parse(id).map_err(|_| anyhow!("{id} is no id of a sandbox"))? }
        }
        None => SpecOf::Image {
            image: ImageName::parse(&args.image).with_context(|| format!("image {}", args.image))?,
            limits: USUAL,
        },
    };
    match Runtime::connect(&run_dir(&args.state)?)?.call(Call::Spec { of })? {
        Reply::Spec { json } => {
            let spec: serde_json::Value = serde_json::from_str(&json).context("understand the spec")?;
            println!("{spec:#}");
            Ok(())
        }
        other => Err(client::unexpected(other)),
    }
}
