//! Counters against every order of taking and giving back.

use super::*;
use proptest::prelude::*;

const SHARE: Share = Share { cpu_millis: 500, memory_bytes: 64 * MIB };

fn account(quota: Quota) -> Arc<Account> {
    Arc::new(Account::new(quota, Source::Own))
}

#[test]
fn a_refusal_takes_nothing_and_says_what_is_full() {
    let account = account(Quota { sandboxes: Some(2), cpu_millis: Some(700), ..Quota::UNLIMITED });
    let first = account.take_sandbox(SHARE).unwrap();
    let over = account.take_sandbox(SHARE).unwrap_err();
    assert_eq!(ApiError::from(over).message, "quota: at most 700 thousandths of processors");
    first.rest();
    first.rest();
    let second = account.take_sandbox(SHARE).unwrap();
    let over = ApiError::from(account.take_sandbox(SHARE).unwrap_err());
    assert_eq!((over.status.as_u16(), &*over.message), (429, "quota: at most 2 sandboxes"));
    assert!(first.work().is_err(), "the other one has the processors");
    drop(second);
    assert!(first.work().is_ok() && first.work().is_ok());
    drop(first);
    assert_eq!(account.lock().used, Used::default());
}

#[test]
fn what_is_adopted_counts_and_is_never_refused() {
    let account = account(Quota { sandboxes: Some(1), ..Quota::UNLIMITED });
    let held = [account.adopt_sandbox(SHARE), account.adopt_sandbox(SHARE)];
    assert!(account.take_sandbox(SHARE).is_err());
    drop(held);
    assert!(account.take_sandbox(SHARE).is_ok());
    assert_eq!(account.lock().used, Used::default());
}

#[test]
fn a_hundred_at_once_get_exactly_what_is_there() {
    let account = account(Quota { sandboxes: Some(5), executions: Some(7), ..Quota::UNLIMITED });
    let held: Vec<_> = std::thread::scope(|scope| {
        let take = || (account.take_sandbox(SHARE).ok(), account.take(Kind::Execution).ok());
        let threads: Vec<_> = (0..100).map(|_| scope.spawn(take)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(held.iter().filter(|(sandbox, _)| sandbox.is_some()).count(), 5);
    assert_eq!(held.iter().filter(|(_, execution)| execution.is_some()).count(), 7);
    drop(held);
    assert_eq!(account.lock().used, Used::default());
}

#[test]
fn a_stranger_has_the_usual_quota_and_keeps_what_it_is_given() {
    let known = [("known".to_owned(), Some(Quota::UNLIMITED)), ("plain".to_owned(), None)];
    let accounts = Accounts::new(Quota::USUAL, known);
    assert_eq!(accounts.of("known").quota(), Quota::UNLIMITED);
    assert_eq!(accounts.of("new").quota(), Quota::USUAL);
    let less = Quota { streams: Some(1), ..Quota::USUAL };
    accounts.set_usual(less);
    for (org, quota) in [("known", Quota::UNLIMITED), ("plain", less), ("new", less), ("newer", less)] {
        assert_eq!(accounts.of(org).quota(), quota, "{org}");
    }
    accounts.of("new").set(Quota { sandboxes: Some(0), ..Quota::USUAL });
    accounts.set_usual(Quota::USUAL);
    assert!(accounts.of("new").take_sandbox(SHARE).is_err());
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Make,
    Drop(usize),
    Rest(usize),
    Work(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Make),
        (0..20_usize).prop_map(Step::Drop),
        (0..20_usize).prop_map(Step::Rest),
        (0..20_usize).prop_map(Step::Work),
    ]
}

proptest! {
    #[test]
    fn counters_are_what_is_held(steps in proptest::collection::vec(step(), 1..200)) {
        let quota = Quota { sandboxes: Some(8), cpu_millis: Some(2000), ..Quota::UNLIMITED };
        let account = account(quota);
        // Each hold and whether it works.
        let mut held: Vec<(SandboxHold, u64)> = Vec::new();
        for step in steps {
            let working: u64 = held.iter().map(|(_, works)| works).sum();
            match step {
                Step::Make => {
                    let fits = held.len() < 8 && working < 4;
                    let made = account.take_sandbox(SHARE);
                    prop_assert_eq!(made.is_ok(), fits);
                    held.extend(made.ok().map(|hold| (hold, 1)));
                }
                Step::Drop(index) if index < held.len() => drop(held.swap_remove(index)),
                Step::Rest(index) if index < held.len() => {
                    held[index].0.rest();
                    held[index].1 = 0;
                }
                Step::Work(index) if index < held.len() => {
                    let fits = held[index].1 == 1 || working < 4;
                    prop_assert_eq!(held[index].0.work().is_ok(), fits);
                    held[index].1 = u64::from(fits);
                }
                Step::Drop(_) | Step::Rest(_) | Step::Work(_) => {}
            }
            let working: u64 = held.iter().map(|(_, works)| works).sum();
            let used = account.lock().used;
            prop_assert_eq!((used.sandboxes, used.cpu_millis), (held.len() as u64, working * 500));
        }
    }
}
