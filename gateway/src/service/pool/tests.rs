//! Who learns of a death, wherever one is on its way.

use super::*;

fn pool_of(ids: &[&SandboxId]) -> Pool {
    let pool = Pool::new(ids.len());
    for id in ids {
        pool.lock().ready.push_back(Spare { id: (*id).clone(), image: ImageId::host() });
    }
    pool
}

fn id(letter: &str) -> SandboxId {
    SandboxId::parse(&letter.repeat(30)).unwrap()
}

#[test]
fn a_death_on_the_way_out_is_remembered_until_it_has_arrived() {
    let (one, other) = (id("a"), id("b"));
    let pool = pool_of(&[&one, &other]);
    assert_eq!(pool.take_first(|spare| spare.id == one), Some(one.clone()));
    assert_eq!(pool.ids().len(), 2, "the runtime must list it still");
    assert!(!pool.has_lost(&one));
    assert_eq!(pool.lose(&one), None, "who took it ends it");
    assert!(pool.has_lost(&one) && !pool.has_lost(&other));
    assert_eq!(pool.ids(), std::slice::from_ref(&other));
    pool.moved(&one);
    assert!(!pool.has_lost(&one) && !pool.knows(&one));
    assert_eq!(pool.lose(&other), Some(other));
}
