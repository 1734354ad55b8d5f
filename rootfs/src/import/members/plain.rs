//! A stream in memory, for tests and for the fuzz targets.

use super::{Outcome, Stream};

/// See the module.
pub(crate) struct Plain<'a>(pub(crate) &'a [u8]);

impl Stream for Plain<'_> {
    fn read(&mut self, out: &mut [u8]) -> Outcome<usize> {
        let count = out.len().min(self.0.len());
        out[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}
