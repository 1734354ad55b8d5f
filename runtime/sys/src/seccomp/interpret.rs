//! An interpreter of classic BPF, for tests and for the fuzz target.

use super::{Profile, ROWS, Verdict};
use libc::sock_filter;
use nix::errno::Errno;

/// Runs a filter over one `struct seccomp_data`.
///
/// # Panics
/// On an instruction that `compile` does not emit, and where it jumps out of the program.
#[must_use]
pub fn interpret(program: &[sock_filter], arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let word = |offset: u32| match offset {
        0 => number,
        4 => arch,
        _ => {
            let argument = arguments[(offset as usize - 16) / 8];
            u32::try_from(if offset.is_multiple_of(8) { argument & 0xffff_ffff } else { argument >> 32 })
                .expect("half of 64 bits")
        }
    };
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let this = program[at];
        at += 1;
        match this.code {
            0x20 => accumulator = word(this.k),
            0x54 => accumulator &= this.k,
            0x05 => at += this.k as usize,
            0x15 => at += usize::from(if accumulator == this.k { this.jt } else { this.jf }),
            0x35 => at += usize::from(if accumulator >= this.k { this.jt } else { this.jf }),
            0x06 => return this.k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

/// What the table says that a filter returns.
#[must_use]
pub fn expected(profile: Profile, number: u32, arguments: [u64; 6]) -> u32 {
    let row = ROWS.iter().find(|row| row.numbers.contains(&i64::from(number)));
    let verdict = row
        .map_or(Verdict::Fail(Errno::ENOSYS), |row| row.rule(i64::from(number), profile).decide(arguments));
    match verdict {
        Verdict::Allow => libc::SECCOMP_RET_ALLOW,
        Verdict::Fail(errno) => libc::SECCOMP_RET_ERRNO | errno as u32,
        Verdict::Pretend => libc::SECCOMP_RET_ERRNO,
    }
}
