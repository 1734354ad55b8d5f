//! When keys were used: known in memory at once, in the store within a minute.

use super::Keys;
use crate::app::App;
use crate::error::chain;
use crate::limits;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Keys {
    /// Which keys were used since the last call, and when last.
    fn used(&self) -> Vec<(String, i64)> {
        let used = |(id, entry): (&String, &super::Entry)| {
            let used = entry.used_us.load(Ordering::Relaxed);
            (entry.noted_us.swap(used, Ordering::Relaxed) < used).then(|| (id.clone(), used))
        };
        self.read().iter().filter_map(used).collect()
    }

    /// Counts as a use now.
    pub(crate) fn touch(&self, id: &str, now_us: i64) {
        if let Some(entry) = self.read().get(id) {
            entry.used_us.fetch_max(now_us, Ordering::Relaxed);
        }
    }
}

/// Writes down what was used, for ever.
pub(crate) async fn note(app: Arc<App>) {
    loop {
        tokio::time::sleep(limits::KEY_NOTE).await;
        let used = app.keys.used();
        if used.is_empty() {
            continue;
        }
        if let Err(error) = app.store.note_uses(used).await {
            tracing::warn!(error = chain(&error), "the use of keys was not noted");
        }
    }
}
