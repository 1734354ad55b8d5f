//! Who learns of a death, wherever one is on its way.

use super::*;
use std::time::Duration;

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

#[tokio::test]
async fn a_closing_pool_waits_for_what_is_on_its_way() {
    let (made, ended) = (id("a"), id("b"));
    let pool = pool_of(&[]);
    pool.settled().await;
    pool.moves(&ended);
    assert!(pool.begins(&made));
    let mut settled = std::pin::pin!(pool.settled());
    let mut is_over =
        async || tokio::time::timeout(Duration::from_millis(20), settled.as_mut()).await.is_ok();
    assert!(!is_over().await);
    pool.moved(&ended);
    assert!(!is_over().await, "one is still being made");
    pool.lock().closed = true;
    let spare = Spare { id: made.clone(), image: ImageId::host() };
    assert!(pool.put(spare).is_some(), "whoever made it ends it");
    assert!(!is_over().await);
    pool.moved(&made);
    assert!(is_over().await);
    assert!(!pool.begins(&id("c")), "nothing begins any more");
}
