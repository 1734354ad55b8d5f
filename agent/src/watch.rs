//! Descriptors in the event loop: the one place that registers them.

use std::os::fd::{AsFd, AsRawFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor. Must run within the runtime.
///
/// # Errors
/// As epoll_ctl(2).
#[expect(
    deprecated,
    reason = "its successor is the same but unsafe, since any AsRawFd may lie about its number; what is AsFd by \
              ownership or borrow may not, and this crate forbids unsafe"
)]
pub(crate) fn watch<T: AsFd + AsRawFd>(descriptor: T, interest: Interest) -> std::io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(descriptor, interest)
}
