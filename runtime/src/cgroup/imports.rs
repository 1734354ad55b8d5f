//! Groups of imports. What an importer does with a stranger's bytes is bounded, and nothing of it outlives it: the group
//! is killed and proven empty before anybody looks at what the import made.

use super::{Bounds, Group, Groups, knobs};
use crate::error::Result;

/// Beginning of the names of these groups; no sandbox is called so.
const PREFIX: &str = "import-";

/// Whether a group is one of an import.
pub(super) fn is_imports(name: &str) -> bool {
    name.starts_with(PREFIX)
}

impl Groups {
    /// Makes the group of an import with its limits in force.
    pub(crate) fn create_for_import(&self, job: &str, bounds: Bounds) -> Result<Group> {
        let knobs = knobs::of_import(bounds, self.layout.kind(), &self.layout.huge_pages);
        self.create_with(&format!("{PREFIX}{job}"), &knobs)
    }

    /// Ends what lives in the group of an import, and removes it. False while something is still dying there.
    pub(crate) fn end_import(&self, job: &str) -> Result<bool> {
        self.end_named(&format!("{PREFIX}{job}"))
    }

    /// Does the same with the groups of all imports but of these, whoever began them. False while something is still
    /// dying in one.
    pub(crate) fn end_imports_but(&self, jobs: &[&str]) -> Result<bool> {
        let mut gone = true;
        for name in self.list()? {
            if name.strip_prefix(PREFIX).is_some_and(|job| !jobs.contains(&job)) {
                gone &= self.end_named(&name)?;
            }
        }
        Ok(gone)
    }

    fn end_named(&self, name: &str) -> Result<bool> {
        if let Some(group) = self.find(name)? {
            group.kill()?;
        }
        self.remove_named(name)
    }
}
