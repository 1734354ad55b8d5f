//! Named places at which a half of the server kills itself when a test asks for it, so that every step of every
//! operation is tried with a crash right behind it.
//!
//! The halves use this crate through their feature `failpoints` alone, which optimised builds refuse: what is shipped
//! holds none of it. Tests go through all of [`Runtime`] and [`Gateway`].

mod points;

pub use points::{Gateway, Runtime};
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Variable that arms a point: its name, or `name:N` for the N-th time that it is reached.
pub const POINT_ENV: &str = "BULKHEAD_FAILPOINT";
/// Variable with the path of a file that is made before the death: where it exists already nobody dies, so that the
/// half that is started again goes on.
pub const ONCE_ENV: &str = "BULKHEAD_FAILPOINT_ONCE";

/// A list of points.
pub trait Point: Copy {
    /// Its name in [`POINT_ENV`], `half.Step`.
    fn name(self) -> &'static str;
}

/// What the environment asks for.
#[derive(Debug)]
struct Armed {
    name: String,
    /// How often it is still passed before it kills, plus one.
    left: AtomicU32,
    once: Option<PathBuf>,
}

impl Armed {
    fn parse(text: &str, once: Option<PathBuf>) -> Option<Self> {
        let (name, count) = text.split_once(':').map_or((text, Some(1)), |(name, n)| (name, n.parse().ok()));
        let left = AtomicU32::new(count.filter(|count| *count > 0)?);
        Some(Self { name: name.to_owned(), left, once })
    }

    /// Whether this is the moment.
    fn fires(&self, name: &str) -> bool {
        self.name == name && self.left.fetch_sub(1, Ordering::Relaxed) == 1 && self.marks()
    }

    fn marks(&self) -> bool {
        let make = |path| OpenOptions::new().write(true).create_new(true).open(path).is_ok();
        self.once.as_ref().is_none_or(make)
    }
}

/// Dies here, as by `kill -9`, if the environment asks for it.
pub fn reach(point: impl Point) {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    let armed = ARMED.get_or_init(|| {
        let once = std::env::var_os(ONCE_ENV).map(PathBuf::from);
        Armed::parse(&std::env::var(POINT_ENV).ok()?, once)
    });
    if armed.as_ref().is_some_and(|armed| armed.fires(point.name())) {
        // Without a word: a process that is killed says nothing either.
        if nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).is_err() {
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_point_has_a_name_of_its_own() {
        let runtime = Runtime::ALL.iter().map(|point| point.name());
        let gateway = Gateway::ALL.iter().map(|point| point.name());
        let names: Vec<_> = runtime.chain(gateway).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        assert!(names.iter().all(|name| name.starts_with("runtime.") || name.starts_with("gateway.")));
    }

    #[test]
    fn it_fires_the_time_that_was_asked_for_and_once() {
        let armed = Armed::parse("runtime.X:2", None).unwrap();
        let fired: Vec<_> = (0..4).map(|_| armed.fires("runtime.X")).collect();
        assert_eq!(fired, [false, true, false, false]);
        assert!(!Armed::parse("runtime.X", None).unwrap().fires("runtime.Y"));
        assert!(Armed::parse("runtime.X:0", None).is_none() && Armed::parse("runtime.X:y", None).is_none());
    }

    #[test]
    fn who_is_started_again_goes_on() {
        let marker = std::env::temp_dir().join(format!("failpoint-{}", std::process::id()));
        let armed = || Armed::parse("runtime.X", Some(marker.clone())).unwrap();
        assert!(armed().fires("runtime.X"));
        assert!(!armed().fires("runtime.X"));
        std::fs::remove_file(&marker).unwrap();
    }
}
