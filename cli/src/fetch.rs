//! `bulkhead fetch`: brings an image into a directory. The one part that speaks with strangers: before it does, it has
//! no rights left but to write into that directory.

mod confine;

pub(crate) use confine::usual_uid;

use crate::args::{FetchArgs, Source};
use anyhow::Context;
use bulkhead_fetch::{Credentials, Http, Order, Progress, Reference, Roots, SILENCE};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Where distributions keep the certificates of authorities.
const CERTIFICATES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
/// Between two lines about one layer.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) fn run(args: &FetchArgs) -> anyhow::Result<()> {
    let reference = Reference::parse(&args.reference).with_context(|| args.reference.clone())?;
    let (roots, credentials) = (certificates()?, credentials(&args.source, &reference)?);
    // Its path may lead through directories of root.
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let dir = open(&args.to, flags, Mode::empty()).with_context(|| format!("open {}", args.to.display()))?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
    confine::confine(args.parent, &path)?;
    let http = if args.source.insecure_http { Http::Everywhere } else { Http::Loopback };
    let order = Order { reference, dir: path, http, roots, credentials };
    let mut told = Teller::default();
    told.heard();
    bulkhead_fetch::fetch(&order, &mut |progress| told.tell(&progress)).context("fetch")?;
    Ok(())
}

fn certificates() -> anyhow::Result<Roots> {
    let pem = CERTIFICATES.iter().find_map(|path| std::fs::read(path).ok());
    // Without any there is no https, and a registry on this machine still works.
    Ok(Roots::parse(&pem.unwrap_or_default())?)
}

fn credentials(source: &Source, reference: &Reference) -> anyhow::Result<Credentials> {
    let Some(path) = &source.auth_file else { return Ok(Credentials::anonymous()) };
    let file = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    Ok(Credentials::parse(&file, reference)?)
}

/// Writes progress, a line of JSON each; and asks to be ended when there is none.
#[derive(Debug, Default)]
struct Teller {
    layer: u32,
    last: Option<Instant>,
}

impl Teller {
    /// The kernel ends us unless this is called again in time.
    fn heard(&self) {
        nix::unistd::alarm::set(u32::try_from(SILENCE.as_secs()).unwrap_or(u32::MAX));
    }

    fn tell(&mut self, progress: &Progress) {
        self.heard();
        if let Progress::Layer { number, done, total, .. } = progress {
            let soon = self.last.is_some_and(|last| last.elapsed() < PAUSE);
            if soon && *number == self.layer && done < total {
                return;
            }
            (self.layer, self.last) = (*number, Some(Instant::now()));
        }
        let line = serde_json::to_string(progress).unwrap_or_default();
        // Who does not listen any more has ended us by the time that matters.
        drop(writeln!(std::io::stdout(), "{line}"));
    }
}
