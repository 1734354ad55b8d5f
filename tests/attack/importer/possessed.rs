//! A process in whose place system calls are made.

use bulkhead_tests::host::Process;
use nix::errno::Errno;
use nix::libc as c;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs;

/// Bytes of the instruction `syscall`.
const INSTRUCTION: u64 = 2;

/// Stopped where it is about to make a call of its own.
pub(super) struct Possessed {
    pid: Pid,
    /// What it was about to do.
    own: c::user_regs_struct,
}

impl Possessed {
    /// Takes the main thread of an import's stage where it makes a directory or gives a file away: with all that it has
    /// given up before.
    pub(super) fn take(process: &Process) -> Self {
        let pid = Pid::from_raw(process.pid);
        ptrace::attach(pid).expect("root may trace");
        wait(pid);
        ptrace::setoptions(pid, Options::PTRACE_O_TRACESYSGOOD).expect("it is stopped");
        loop {
            next(pid);
            let own = ptrace::getregs(pid).expect("it is stopped");
            let working = [c::SYS_mkdirat, c::SYS_fchown].contains(&number(&own));
            if working && own.rax.cast_signed() == -i64::from(c::ENOSYS) {
                return Self { pid, own };
            }
        }
    }

    /// What `/proc` says of it.
    pub(super) fn file(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.pid)).expect("it lives")
    }

    /// A line of its status.
    pub(super) fn status(&self, name: &str) -> String {
        let text = self.file("status");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}")).trim().to_owned()
    }

    /// Makes one call, and stops where it was.
    pub(super) fn call(&mut self, number: c::c_long, arguments: [u64; 6]) -> Result<i64, Errno> {
        let [rdi, rsi, rdx, r10, r8, r9] = arguments;
        let orig_rax = number.cast_unsigned();
        let other = c::user_regs_struct { orig_rax, rdi, rsi, rdx, r10, r8, r9, ..self.own };
        ptrace::setregs(self.pid, other).expect("it is stopped");
        next(self.pid);
        let answer = ptrace::getregs(self.pid).expect("it is stopped").rax.cast_signed();
        // Once more to the instruction, with the number and the arguments that it had.
        let again =
            c::user_regs_struct { rax: self.own.orig_rax, rip: self.own.rip - INSTRUCTION, ..self.own };
        ptrace::setregs(self.pid, again).expect("it is stopped");
        next(self.pid);
        match answer {
            -4095..0 => Err(Errno::from_raw(i32::try_from(-answer).expect("a small number"))),
            done => Ok(done),
        }
    }

    /// Lets it go on by itself.
    pub(super) fn leave(&mut self) {
        ptrace::detach(self.pid, None).expect("it is stopped");
    }
}

fn number(registers: &c::user_regs_struct) -> c::c_long {
    registers.orig_rax.cast_signed()
}

/// To the next beginning or end of a call.
fn next(pid: Pid) {
    ptrace::syscall(pid, None).expect("it is stopped");
    wait(pid);
}

fn wait(pid: Pid) {
    match waitpid(pid, Some(WaitPidFlag::__WALL)).expect("it is traced") {
        WaitStatus::Stopped(..) | WaitStatus::PtraceSyscall(_) => {}
        other => panic!("{other:?}"),
    }
}
