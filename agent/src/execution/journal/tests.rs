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
        assert!(matches!(journal.read(&mut early), Some(Item::Output(Stream::Stderr, _))));
    }
    let Some(Item::Gap(gap)) = journal.read(&mut late) else { panic!("no gap") };
    assert_eq!(gap.from, 0);
    assert_eq!(gap.to % u64::try_from(MAX_PAYLOAD).unwrap(), 0);
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
