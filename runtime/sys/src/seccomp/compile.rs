//! From the table to classic BPF: a binary tree over ranges of numbers.
//!
//! A linear list of 350 calls costs 0.4 ms to install, because the kernel runs the program once per system call
//! to fill its cache; a tree of the same content is a tenth of the work. seccompiler emits lists with one
//! action each and would need two programs, so this small compiler is ours.

use super::decision::{Decision, WITHOUT_ROW, beyond, decisions, deny};
use super::{Half, Profile, Test, Verdict};
use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W,
    SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS, sock_filter,
};

/// What the kernel calls this architecture, `linux/audit.h`.
pub(super) const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
/// Numbers from here on are calls of the x32 ABI.
const X32_BIT: u32 = 0x4000_0000;
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGUMENTS: u32 = 16;

/// One stretch of numbers with one decision, up to the next stretch.
#[derive(Debug, Clone, Copy)]
struct Stretch<'a> {
    from: u32,
    cases: &'a [(Vec<Test>, Verdict)],
    otherwise: Verdict,
}

/// The filter of a profile.
#[must_use]
pub fn compile(profile: Profile) -> Vec<sock_filter> {
    compile_decisions(&decisions(profile), WITHOUT_ROW)
}

/// What a profile refuses beyond another whose filter is installed already and stays on, and `denied` on top of it. Much
/// shorter, and installed before every command.
#[must_use]
pub fn compile_beyond(profile: Profile, installed: Profile, denied: &[u32]) -> Vec<sock_filter> {
    let mut wanted = decisions(profile);
    deny(&mut wanted, denied);
    compile_decisions(&beyond(&wanted, installed), Verdict::Allow)
}

/// The filter of these decisions, which are in the order of their numbers and one for each; `without` is the answer for
/// all others.
#[must_use]
pub fn compile_decisions(decisions: &[Decision], without: Verdict) -> Vec<sock_filter> {
    let mut program = vec![
        load(OFFSET_ARCH),
        jump(BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0),
        statement(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        load(OFFSET_NUMBER),
    ];
    program.extend(tree(&stretches(decisions, without)));
    program
}

/// All numbers in order, neighbours of one verdict joined; the end of the numbers is x32's, which has no rows.
fn stretches(decisions: &[Decision], without: Verdict) -> Vec<Stretch<'_>> {
    let gap = |from| Stretch { from, cases: &[], otherwise: without };
    let mut out = vec![gap(0)];
    for (at, decision) in decisions.iter().enumerate() {
        let Decision { number, cases, otherwise } = decision;
        push(&mut out, Stretch { from: *number, cases, otherwise: *otherwise });
        let next = decisions.get(at + 1).map_or(X32_BIT, |next| next.number);
        if next > number + 1 {
            push(&mut out, gap(number + 1));
        }
    }
    out
}

fn push<'a>(stretches: &mut Vec<Stretch<'a>>, next: Stretch<'a>) {
    match stretches.last_mut() {
        Some(last) if last.from == next.from => *last = next,
        Some(last) if last.cases.is_empty() && next.cases.is_empty() && last.otherwise == next.otherwise => {}
        _ => stretches.push(next),
    }
}

/// Code that decides among these stretches; the accumulator holds the number.
fn tree(stretches: &[Stretch<'_>]) -> Vec<sock_filter> {
    let [one] = stretches else {
        let (low, high) = stretches.split_at(stretches.len() / 2);
        let (low_code, high_code) = (tree(low), tree(high));
        let mut code = branch(high[0].from, low_code.len());
        code.extend(low_code);
        code.extend(high_code);
        return code;
    };
    leaf(one)
}

/// Jumps over `skip` instructions when the accumulator is at least `bound`. Conditional jumps reach 255 far.
fn branch(bound: u32, skip: usize) -> Vec<sock_filter> {
    if let Ok(near) = u8::try_from(skip) {
        return vec![jump(BPF_JGE, bound, near, 0)];
    }
    let far = u32::try_from(skip).expect("a filter has at most 4096 instructions");
    vec![jump(BPF_JGE, bound, 0, 1), statement(BPF_JMP | BPF_JA, far)]
}

fn leaf(stretch: &Stretch<'_>) -> Vec<sock_filter> {
    let mut code = Vec::new();
    for (tests, verdict) in stretch.cases {
        code.extend(case(tests, *verdict));
    }
    code.push(answer(stretch.otherwise));
    code
}

/// Answers when all tests hold, else falls through to what follows.
fn case(tests: &[Test], verdict: Verdict) -> Vec<sock_filter> {
    let mut code = vec![answer(verdict)];
    for test in tests.iter().rev() {
        let skip = u8::try_from(code.len()).expect("a case has few tests");
        // Little endian: the low half comes first.
        let half = if test.half == Half::Low { 0 } else { 4 };
        let mut this = vec![load(OFFSET_ARGUMENTS + 8 * u32::from(test.argument) + half)];
        if test.mask != u32::MAX {
            this.push(statement(BPF_ALU | BPF_AND | BPF_K, test.mask));
        }
        this.push(jump(BPF_JEQ, test.value, 0, skip));
        this.extend(code);
        code = this;
    }
    code
}

fn answer(verdict: Verdict) -> sock_filter {
    match verdict {
        Verdict::Allow => statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        // Error 0 is success.
        Verdict::Pretend => statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO),
        Verdict::Fail(errno) => statement(
            BPF_RET | BPF_K,
            SECCOMP_RET_ERRNO | u32::try_from(errno as i32).expect("errors are positive"),
        ),
    }
}

/// Loads 32 bits of `struct seccomp_data`.
fn load(offset: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, offset)
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: u16::try_from(code).expect("BPF codes have 16 bits"), jt: 0, jf: 0, k }
}

fn jump(test: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { jt, jf, ..statement(BPF_JMP | test | BPF_K, k) }
}
