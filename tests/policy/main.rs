//! Rules of the repository that no compiler checks.

mod dependencies;
mod files;
mod security;
