//! What `exec` promises: output, ends, time, descendants.

mod ends;
mod output;
mod parallel;
mod shell;
mod timeouts;
