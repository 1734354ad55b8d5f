//! The filter over system calls in the words of the spec, both ways: what is installed is compiled from the spec.

use super::built;
use crate::error::{Error, Result};
use bulkhead_sys::seccomp::{
    Decision, Half, Profile, Test, Verdict, WITHOUT_ROW, compile_decisions, decisions, name_of, number_named,
};
use nix::errno::Errno;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};
use std::collections::BTreeMap;

/// The agent's.
pub(super) fn of_agent() -> Result<LinuxSeccomp> {
    written(&decisions(Profile::Agent))
}

/// The program that does what it says.
pub(crate) fn compile(seccomp: &LinuxSeccomp) -> Result<Vec<libc::sock_filter>> {
    if seccomp.architectures().as_deref() != Some(&[Arch::ScmpArchX86_64]) {
        return Err(Error::Spec("a filter for other than x86-64 alone"));
    }
    let without = verdict(seccomp.default_action(), seccomp.default_errno_ret())?;
    Ok(compile_decisions(&read(seccomp)?, without))
}

/// Calls that are decided alike stand together.
fn written(decisions: &[Decision]) -> Result<LinuxSeccomp> {
    let mut alike: Vec<(&Decision, Vec<String>)> = Vec::new();
    for decision in decisions {
        let name = name_of(decision.number).ok_or(Error::Spec("a system call without a name"))?;
        let same = |other: &Decision| other.cases == decision.cases && other.otherwise == decision.otherwise;
        match alike.iter_mut().find(|(other, _)| same(other)) {
            Some((_, names)) => names.push(name.to_owned()),
            None => alike.push((decision, vec![name.to_owned()])),
        }
    }
    let mut entries = Vec::new();
    for (decision, names) in &alike {
        for (tests, verdict) in &decision.cases {
            entries.push(entry(names, *verdict, tests)?);
        }
        entries.push(entry(names, decision.otherwise, &[])?);
    }
    let (action, errno) = action(WITHOUT_ROW);
    let seccomp = LinuxSeccompBuilder::default()
        .default_action(action)
        .architectures(vec![Arch::ScmpArchX86_64])
        .syscalls(entries);
    built(match errno {
        Some(errno) => seccomp.default_errno_ret(errno).build(),
        None => seccomp.build(),
    })
}

fn entry(names: &[String], verdict: Verdict, tests: &[Test]) -> Result<LinuxSyscall> {
    let (action, errno) = action(verdict);
    let mut entry = LinuxSyscallBuilder::default().names(names.to_vec()).action(action);
    if let Some(errno) = errno {
        entry = entry.errno_ret(errno);
    }
    if !tests.is_empty() {
        entry = entry.args(tests.iter().map(argument).collect::<Result<Vec<_>>>()?);
    }
    built(entry.build())
}

fn argument(test: &Test) -> Result<LinuxSeccompArg> {
    let shift = shift(test.half);
    let argument = LinuxSeccompArgBuilder::default()
        .index(usize::from(test.argument))
        .value(u64::from(test.mask) << shift)
        .value_two(u64::from(test.value) << shift)
        .op(LinuxSeccompOperator::ScmpCmpMaskedEq);
    built(argument.build())
}

fn shift(half: Half) -> u32 {
    match half {
        Half::Low => 0,
        Half::High => 32,
    }
}

fn action(verdict: Verdict) -> (LinuxSeccompAction, Option<u32>) {
    match verdict {
        Verdict::Allow => (LinuxSeccompAction::ScmpActAllow, None),
        Verdict::Pretend => (LinuxSeccompAction::ScmpActErrno, Some(0)),
        Verdict::Fail(errno) => (
            LinuxSeccompAction::ScmpActErrno,
            Some(u32::try_from(errno as i32).expect("errors are positive")),
        ),
    }
}

/// The decisions, in the order of numbers.
fn read(seccomp: &LinuxSeccomp) -> Result<Vec<Decision>> {
    let mut open: BTreeMap<u32, Vec<(Vec<Test>, Verdict)>> = BTreeMap::new();
    let mut decided = BTreeMap::new();
    for entry in seccomp.syscalls().iter().flatten() {
        let verdict = verdict(entry.action(), entry.errno_ret())?;
        let tests: Vec<_> = entry.args().iter().flatten().map(test).collect::<Result<_>>()?;
        for name in entry.names() {
            let number = number_named(name).ok_or(Error::Spec("a system call that does not exist"))?;
            if decided.contains_key(&number) {
                return Err(Error::Spec("a decision behind the last one about a system call"));
            }
            if tests.is_empty() {
                let cases = open.remove(&number).unwrap_or_default();
                decided.insert(number, Decision { number, cases, otherwise: verdict });
            } else {
                open.entry(number).or_default().push((tests.clone(), verdict));
            }
        }
    }
    if open.is_empty() { Ok(decided.into_values().collect()) } else { Err(Error::Spec("no last decision")) }
}

fn test(argument: &LinuxSeccompArg) -> Result<Test> {
    const BROKEN: Error = Error::Spec("a comparison that no filter here makes");
    let (mask, value) = (argument.value(), argument.value_two().ok_or(BROKEN)?);
    if argument.op() != LinuxSeccompOperator::ScmpCmpMaskedEq {
        return Err(BROKEN);
    }
    let half = if mask >> 32 == 0 { Half::Low } else { Half::High };
    let number = u8::try_from(argument.index()).ok().filter(|number| *number < 6).ok_or(BROKEN)?;
    let word = |bits: u64| {
        let word = bits >> shift(half);
        u32::try_from(word).ok().filter(|word| u64::from(*word) << shift(half) == bits).ok_or(BROKEN)
    };
    Ok(Test { argument: number, half, mask: word(mask)?, value: word(value)? })
}

fn verdict(action: LinuxSeccompAction, errno: Option<u32>) -> Result<Verdict> {
    match (action, errno) {
        (LinuxSeccompAction::ScmpActAllow, None) => Ok(Verdict::Allow),
        (LinuxSeccompAction::ScmpActErrno, Some(0)) => Ok(Verdict::Pretend),
        (LinuxSeccompAction::ScmpActErrno, Some(errno)) => {
            match Errno::from_raw(i32::try_from(errno).unwrap_or(i32::MAX)) {
                Errno::UnknownErrno => Err(Error::Spec("an error that does not exist")),
                errno => Ok(Verdict::Fail(errno)),
            }
        }
        _ => Err(Error::Spec("an action that no filter here takes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digests::digest;

    #[test]
    fn what_is_compiled_from_the_spec_is_the_table() {
        let written = of_agent().unwrap();
        assert_eq!(read(&written).unwrap(), decisions(Profile::Agent));
        let program = compile(&written).unwrap();
        assert_eq!(digest(&program), digest(&bulkhead_sys::seccomp::compile(Profile::Agent)));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let good = of_agent().unwrap();
        let first = good.syscalls().as_ref().unwrap()[0].clone();
        let with = |change: &dyn Fn(&mut Vec<LinuxSyscall>)| {
            let mut entries = good.syscalls().clone().unwrap();
            change(&mut entries);
            let mut changed = good.clone();
            changed.set_syscalls(Some(entries));
            compile(&changed).map(drop).unwrap_err().to_string()
        };
        let mut unknown = first.clone();
        unknown.set_names(vec!["no_such_call".to_owned()]);
        assert!(with(&|entries| entries.push(unknown.clone())).contains("does not exist"));
        assert!(with(&|entries| entries.push(first.clone())).contains("behind the last"));
        let mut killed = first.clone();
        killed.set_action(LinuxSeccompAction::ScmpActKill);
        assert!(with(&|entries| entries[0] = killed.clone()).contains("action"));
        let mut all = good.clone();
        all.set_architectures(None);
        assert!(compile(&all).is_err());
    }
}
