//! Who starts something with which key: the same key waits, another does not.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use tokio::sync::Mutex;

/// One lock for each key that somebody holds or waits for: no more than there are connections.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    by_key: RefCell<BTreeMap<String, Rc<Mutex<()>>>>,
}

impl Turns {
    /// The lock of a key, to be kept as long as its turn is waited for or held.
    pub(crate) fn of(&self, key: &str) -> Rc<Mutex<()>> {
        let mut by_key = self.by_key.borrow_mut();
        // Those that nobody keeps.
        by_key.retain(|_, turn| Rc::strong_count(turn) > 1);
        Rc::clone(by_key.entry(key.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_waits_and_nothing_is_kept_of_others() {
        let turns = Turns::default();
        let (first, again, other) = (turns.of("a"), turns.of("a"), turns.of("b"));
        let turn = first.try_lock().unwrap();
        assert!(again.try_lock().is_err(), "the same key waits");
        assert!(other.try_lock().is_ok(), "another does not");
        drop(turn);
        assert!(again.try_lock().is_ok());
        drop((first, again, other));
        let _last = turns.of("c");
        assert_eq!(turns.by_key.borrow().len(), 1);
    }
}
