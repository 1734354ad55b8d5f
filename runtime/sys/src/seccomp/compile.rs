//! From the table to classic BPF: a binary tree over ranges of numbers.
//!
//! A linear list of 350 calls costs 0.4 ms to install, because the kernel runs the program once per system call
//! to fill its cache; a tree of the same content is a tenth of the work. seccompiler emits lists with one
//! action each and would need two programs, so this small compiler is ours.

use super::{Half, Profile, ROWS, Rule, Test, Verdict, table::Row};
use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W,
    SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS, sock_filter,
};
use nix::errno::Errno;

/// What the kernel calls this architecture, `linux/audit.h`.
pub(super) const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
/// Numbers from here on are calls of the x32 ABI.
const X32_BIT: u32 = 0x4000_0000;
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGUMENTS: u32 = 16;
const MISSING: Rule = Rule::Always(Verdict::Fail(Errno::ENOSYS));
const ALLOWED: Rule = Rule::Always(Verdict::Allow);

/// One stretch of numbers with one rule, up to the next stretch.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    from: u32,
    rule: Rule,
}

/// The filter of a profile.
#[must_use]
pub fn compile(profile: Profile) -> Vec<sock_filter> {
    program(&stretches(|row, number| row.rule(number, profile), MISSING))
}

/// What a profile refuses beyond another whose filter is installed already and stays on: of several filters the
/// kernel takes the strictest answer. Much shorter, and installed before every command.
#[must_use]
pub fn compile_beyond(profile: Profile, installed: Profile) -> Vec<sock_filter> {
    let beyond = |row: &Row, number| {
        let (wanted, there) = (row.rule(number, profile), row.rule(number, installed));
        if wanted == there { ALLOWED } else { wanted }
    };
    program(&stretches(beyond, ALLOWED))
}

fn program(stretches: &[Stretch]) -> Vec<sock_filter> {
    let mut program = vec![
        load(OFFSET_ARCH),
        jump(BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0),
        statement(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        load(OFFSET_NUMBER),
    ];
    program.extend(tree(stretches));
    program
}

/// The rules of all numbers in order, neighbours of one verdict joined; the end of the numbers is x32's, which
/// has no rows.
fn stretches(rule_of: impl Fn(&Row, i64) -> Rule, without_row: Rule) -> Vec<Stretch> {
    let mut rules: Vec<(u32, Rule)> = Vec::new();
    for row in ROWS {
        for number in row.numbers {
            rules.push((
                u32::try_from(*number).expect("numbers are small and positive"),
                rule_of(row, *number),
            ));
        }
    }
    rules.sort_by_key(|(number, _)| *number);
    let mut out = vec![Stretch { from: 0, rule: without_row }];
    let mut push = |from: u32, rule: Rule| match out.last_mut() {
        Some(last) if last.from == from => last.rule = rule,
        Some(last) if last.rule == rule && matches!(rule, Rule::Always(_)) => {}
        _ => out.push(Stretch { from, rule }),
    };
    for (at, (number, rule)) in rules.iter().enumerate() {
        push(*number, *rule);
        let next = rules.get(at + 1).map_or(X32_BIT, |(next, _)| *next);
        if next > number + 1 {
            push(number + 1, without_row);
        }
    }
    out
}

/// Code that decides among these stretches; the accumulator holds the number.
fn tree(stretches: &[Stretch]) -> Vec<sock_filter> {
    let [one] = stretches else {
        let (low, high) = stretches.split_at(stretches.len() / 2);
        let (low_code, high_code) = (tree(low), tree(high));
        let mut code = branch(high[0].from, low_code.len());
        code.extend(low_code);
        code.extend(high_code);
        return code;
    };
    leaf(one.rule)
}

/// Jumps over `skip` instructions when the accumulator is at least `bound`. Conditional jumps reach 255 far.
fn branch(bound: u32, skip: usize) -> Vec<sock_filter> {
    if let Ok(near) = u8::try_from(skip) {
        return vec![jump(BPF_JGE, bound, near, 0)];
    }
    let far = u32::try_from(skip).expect("a filter has at most 4096 instructions");
    vec![jump(BPF_JGE, bound, 0, 1), statement(BPF_JMP | BPF_JA, far)]
}

fn leaf(rule: Rule) -> Vec<sock_filter> {
    match rule {
        Rule::Always(verdict) => vec![answer(verdict)],
        Rule::ByArguments(cases, otherwise) => {
            let mut code = Vec::new();
            for (tests, verdict) in cases {
                code.extend(case(tests, *verdict));
            }
            code.push(answer(otherwise));
            code
        }
    }
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
