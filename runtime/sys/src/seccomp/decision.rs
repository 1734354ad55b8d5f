//! What a profile decides about each system call, as values: the table with its rows taken apart, for whoever writes it
//! down elsewhere, adds to it, or compiles it.

use super::{Profile, ROWS, Rule, Test, Verdict, table::Row};
use nix::errno::Errno;
use syscalls::x86_64::Sysno;

/// The decision about one system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Its number on x86-64.
    pub number: u32,
    /// The first case whose tests all hold decides.
    pub cases: Vec<(Vec<Test>, Verdict)>,
    /// Where none does.
    pub otherwise: Verdict,
}

/// What becomes of a system call that no row names.
pub const WITHOUT_ROW: Verdict = Verdict::Fail(Errno::ENOSYS);

/// All that a profile decides, in the order of numbers.
#[must_use]
pub fn decisions(profile: Profile) -> Vec<Decision> {
    let mut all: Vec<_> = ROWS.iter().flat_map(|row| of_row(row, profile)).collect();
    all.sort_by_key(|decision| decision.number);
    all
}

/// What remains to be decided where the filter of `installed` stays on: of several filters the kernel takes the strictest
/// answer.
#[must_use]
pub(super) fn beyond(wanted: &[Decision], installed: Profile) -> Vec<Decision> {
    let there = decisions(installed);
    wanted.iter().filter(|decision| !there.contains(decision)).cloned().collect()
}

/// Refuses these calls whatever their arguments. What is refused already stays as it is: nothing becomes less strict.
pub(super) fn deny(decisions: &mut [Decision], numbers: &[u32]) {
    for decision in decisions.iter_mut().filter(|decision| numbers.contains(&decision.number)) {
        if !(decision.cases.is_empty() && matches!(decision.otherwise, Verdict::Fail(_))) {
            decision.cases.clear();
            decision.otherwise = Verdict::Fail(Errno::EPERM);
        }
    }
}

/// The name of a system call, as the kernel's headers have it.
#[must_use]
pub fn name_of(number: u32) -> Option<&'static str> {
    Sysno::new(usize::try_from(number).ok()?).map(|call| call.name())
}

/// The number of a system call.
#[must_use]
pub fn number_named(name: &str) -> Option<u32> {
    u32::try_from(name.parse::<Sysno>().ok()?.id()).ok()
}

/// The number of a system call that the table has a row for.
#[must_use]
pub fn number_of(name: &str) -> Option<u32> {
    let number = number_named(name)?;
    ROWS.iter().any(|row| row.numbers.contains(&i64::from(number))).then_some(number)
}

fn of_row(row: &'static Row, profile: Profile) -> impl Iterator<Item = Decision> {
    row.numbers.iter().map(move |number| {
        let rule = row.rule(*number, profile);
        let number = u32::try_from(*number).expect("numbers are small and positive");
        match rule {
            Rule::Always(verdict) => Decision { number, cases: Vec::new(), otherwise: verdict },
            Rule::ByArguments(cases, otherwise) => {
                let cases = cases.iter().map(|(tests, verdict)| (tests.to_vec(), *verdict)).collect();
                Decision { number, cases, otherwise }
            }
        }
    })
}
