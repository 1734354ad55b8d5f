use super::*;
use proptest::prelude::*;

fn journal(keep: Keep) -> (Journal, Rc<Budget>) {
    let budget = Rc::new(Budget::default());
    (Journal::new(keep, Rc::clone(&budget)), budget)
}

#[test]
fn a_writer_waits_for_the_one_reader_and_nothing_is_lost() {
    let (mut journal, budget) = journal(Keep::UntilRead);
    let piece = vec![7; MAX_PAYLOAD];
    let mut written = 0;
    while journal.room() > 0 {
        written += journal.write(Stream::Stdout, &piece);
    }
    assert!(written <= 256 << 10, "bounded");
    assert_eq!(journal.write(Stream::Stdout, b"x"), 0);
    let (mut cursor, mut read) = (0, 0);
    while let Some(item) = journal.read(&mut cursor) {
        let Item::Output(Stream::Stdout, bytes) = item else { panic!("{item:?}") };
        read += bytes.len();
    }
    assert_eq!(read, written);
    assert_eq!((journal.held, budget.spare.get()), (0, SPARE));
}

#[test]
fn a_late_reader_gets_the_gap_and_an_early_one_does_not() {
    let (mut journal, _) = journal(Keep::Newest);
    let (mut early, mut late) = (0, 0);
    let piece = vec![7; MAX_PAYLOAD];
    for _ in 0..40 {
        assert_eq!(journal.write(Stream::Stderr, &piece), MAX_PAYLOAD);
        for _ in 0..MAX_PAYLOAD / MAX_RECORD {
            assert!(matches!(journal.read(&mut early), Some(Item::Output(Stream::Stderr, _))));
        }
    }
    let Some(Item::Gap(gap)) = journal.read(&mut late) else { panic!("no gap") };
    assert_eq!(gap.from, 0);
    assert_eq!(gap.to % u64::try_from(MAX_RECORD).unwrap(), 0);
    assert!(gap.to > 0 && gap.to < early);
    assert_eq!(journal.read(&mut early), None);
}

#[test]
fn a_cursor_in_the_middle_of_a_record_gets_its_rest() {
    let (mut journal, _) = journal(Keep::Newest);
    assert_eq!(journal.write(Stream::Stdout, b"hello"), 5);
    let mut cursor = 2;
    let rest = Item::Output(Stream::Stdout, Bytes::from_static(b"llo"));
    assert_eq!((journal.read(&mut cursor), cursor), (Some(rest), 5));
}

#[test]
fn guarantees_hold_when_the_spare_bytes_are_gone() {
    let budget = Rc::new(Budget::default());
    let piece = vec![0; MAX_PAYLOAD];
    let mut greedy: Vec<_> =
        (0..MAX_EXECUTIONS).map(|_| Journal::new(Keep::UntilRead, Rc::clone(&budget))).collect();
    for journal in &mut greedy {
        while journal.write(Stream::Stdout, &piece) > 0 {}
        assert!(journal.held >= MAX_PAYLOAD);
    }
    let held: usize = greedy.iter().map(|journal| journal.held).sum();
    assert!(held <= SANDBOX_BYTES);
    drop(greedy);
    assert_eq!(budget.spare.get(), SPARE);
}

fn ended(budget: &Rc<Budget>, bytes: usize) -> Rc<RefCell<Journal>> {
    let journal = Rc::new(RefCell::new(Journal::new(Keep::Newest, Rc::clone(budget))));
    let mut left = bytes;
    while left > 0 {
        left -= journal.borrow_mut().write(Stream::Stdout, &vec![7; left.min(MAX_PAYLOAD)]);
    }
    finish(&journal);
    journal
}

#[test]
fn what_ended_gives_way_to_what_is_written_and_the_oldest_end_first() {
    let budget = Rc::new(Budget::default());
    let old: Vec<_> = (0..2).map(|_| ended(&budget, 1 << 20)).collect();
    let first = |journal: &Rc<RefCell<Journal>>| journal.borrow().records.front().map(|record| record.from);
    let mut fresh: Vec<_> = (0..2).map(|_| Journal::new(Keep::Newest, Rc::clone(&budget))).collect();
    for journal in &mut fresh {
        for _ in 0..40 {
            assert_eq!(journal.write(Stream::Stdout, &[1; MAX_PAYLOAD]), MAX_PAYLOAD);
        }
    }
    assert!(first(&old[0]).is_none_or(|from| from > 0), "the oldest lost something");
    assert!(first(&old[0]).is_none() || first(&old[1]) == Some(0), "all of the oldest goes before the next");
    let mut cursor = 0;
    assert!(matches!(old[0].borrow_mut().read(&mut cursor), Some(Item::Gap(_))), "and says so");
    let live: usize = fresh.iter().map(|journal| journal.held).sum();
    let kept: usize = old.iter().map(|journal| journal.borrow().held).sum();
    assert!(live + kept <= SANDBOX_BYTES && live > (3 << 20));
    drop((old, fresh));
    assert_eq!((budget.spare.get(), budget.obtainable()), (SPARE, SPARE));
}

#[test]
fn many_ends_fit_into_the_budget() {
    let budget = Rc::new(Budget::default());
    let all: Vec<_> = (0..200).map(|_| ended(&budget, 300_000)).collect();
    let held: usize = all.iter().map(|journal| journal.borrow().held).sum();
    assert!(held <= SPARE && held > SPARE / 2);
    assert!(all[0].borrow().records.is_empty() && !all[199].borrow().records.is_empty());
}

#[derive(Debug, Clone)]
enum Act {
    Write(usize, Stream, usize),
    Read(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let stream = prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)];
    prop_oneof![
        (0..3usize, stream, 0..100_000usize).prop_map(|(who, stream, len)| Act::Write(who, stream, len)),
        (0..3usize).prop_map(Act::Read),
    ]
}

/// The byte at an offset, so that a reader can check what it gets.
fn byte_at(offset: u64) -> u8 {
    u8::try_from(offset % 251).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn offsets_are_exact_and_the_budget_is_kept(
        keeps in prop::array::uniform3(prop_oneof![Just(Keep::UntilRead), Just(Keep::Newest)]),
        acts in prop::collection::vec(act(), 0..100),
    ) {
        let budget = Rc::new(Budget::default());
        let mut journals = keeps.map(|keep| Journal::new(keep, Rc::clone(&budget)));
        let mut cursors = [0u64; 3];
        for act in acts {
            match act {
                Act::Write(who, stream, len) => {
                    let journal = &mut journals[who];
                    let (end, room) = (journal.end, journal.room());
                    let bytes: Vec<u8> = (end..end + length(&vec![0; len])).map(byte_at).collect();
                    prop_assert_eq!(journal.write(stream, &bytes), len.min(room));
                }
                Act::Read(who) => {
                    let before = cursors[who];
                    match journals[who].read(&mut cursors[who]) {
                        Some(Item::Output(_, bytes)) => {
                            prop_assert!(!bytes.is_empty() && bytes.len() <= MAX_PAYLOAD);
                            prop_assert_eq!(cursors[who], before + length(&bytes));
                            prop_assert!(bytes.iter().zip(before..).all(|(byte, at)| *byte == byte_at(at)));
                        }
                        Some(Item::Gap(gap)) => {
                            prop_assert_eq!(keeps[who], Keep::Newest);
                            prop_assert_eq!((gap.from, gap.to), (before, cursors[who]));
                            prop_assert!(gap.from < gap.to);
                        }
                        None => prop_assert_eq!(before, journals[who].end),
                    }
                }
            }
            let borrowed: usize = journals.iter().map(|journal| journal.borrowed).sum();
            prop_assert_eq!(budget.spare.get() + borrowed, SPARE);
            for journal in &journals {
                prop_assert!(journal.held <= journal.keep.limit());
                prop_assert_eq!(journal.held, journal.records.iter().map(Record::cost).sum::<usize>());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn many_readers_miss_nothing_silently_even_over_the_end(
        sizes in prop::collection::vec((0..3usize, 1..MAX_PAYLOAD), 1..120),
        reads in prop::collection::vec((0..3usize, 0..4usize), 0..200),
        end_at in 0..120usize,
    ) {
        let budget = Rc::new(Budget::default());
        let journals: Vec<_> =
            (0..3).map(|_| Rc::new(RefCell::new(Journal::new(Keep::Newest, Rc::clone(&budget))))).collect();
        // Per journal and reader: how far it is, counting what it got and what it was told is missing.
        let mut cursors = [[0u64; 4]; 3];
        let mut reads = reads.into_iter();
        let mut live = [true; 3];
        let read = |cursors: &mut [[u64; 4]; 3], which: usize, reader: usize| -> Result<bool, TestCaseError> {
            let cursor = &mut cursors[which][reader];
            let before = *cursor;
            match journals[which].borrow_mut().read(cursor) {
                None => return Ok(false),
                Some(Item::Gap(gap)) => prop_assert_eq!((gap.from, gap.to), (before, *cursor)),
                Some(Item::Output(_, bytes)) => {
                    prop_assert_eq!(*cursor, before + length(&bytes));
                    prop_assert!(bytes.iter().zip(before..).all(|(byte, at)| *byte == byte_at(at)));
                }
            }
            Ok(true)
        };
        for (step, (which, len)) in sizes.into_iter().enumerate() {
            if step == end_at {
                finish(&journals[0]);
                live[0] = false;
            }
            if live[which] {
                let mut journal = journals[which].borrow_mut();
                let bytes: Vec<u8> = (journal.end..).take(len).map(byte_at).collect();
                prop_assert_eq!(journal.write(Stream::Stdout, &bytes), len);
            }
            if let Some((which, reader)) = reads.next() {
                read(&mut cursors, which, reader)?;
            }
            let held: usize = journals.iter().map(|journal| journal.borrow().held).sum();
            prop_assert!(held <= SPARE + 3 * GUARANTEED);
        }
        for which in 0..3 {
            for reader in 0..4 {
                while read(&mut cursors, which, reader)? {}
                prop_assert_eq!(cursors[which][reader], journals[which].borrow().end);
            }
        }
    }
}
