//! The compiled filters against the table, by an interpreter of classic BPF.

use super::interpret::{expected, interpret};
use super::table::MACHINE_SOCKET;
use super::{Profile, ROWS, Row, Rule, STAGES, Stages, Verdict, compile, compile_beyond, name_of, number_of};
use nix::errno::Errno;
use proptest::prelude::*;
use std::fmt::Write;

const X86_64: u32 = super::compile::AUDIT_ARCH_X86_64;
const KILLED: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const PROFILES: [Profile; 5] =
    [Profile::Agent, Profile::Command, Profile::Gateway, Profile::GatewayOfMachines, Profile::Importer];

fn by_arguments(number: u32) -> bool {
    let decides = |rule| matches!(rule, Rule::ByArguments(..));
    let number = i64::from(number);
    let row = ROWS.iter().find(|row| row.numbers.contains(&number));
    row.is_some_and(|row| PROFILES.iter().any(|profile| decides(row.rule(number, *profile))))
}

/// Every rule that a row or the importer's list has.
fn rules() -> impl Iterator<Item = Rule> {
    let of_row = |row: &'static Row| [row.agent, row.command, row.gateway];
    let lists = STAGES.iter().map(|row| row.rule).chain([MACHINE_SOCKET]);
    ROWS.iter().flat_map(of_row).chain(lists)
}

/// Values around everything that the table compares with, with and without bits in the upper half.
fn edges() -> Vec<u64> {
    let mut out = vec![0, u64::MAX];
    for rule in rules() {
        let Rule::ByArguments(cases, _) = rule else { continue };
        for test in cases.iter().flat_map(|(tests, _)| tests.iter()) {
            let value = u64::from(if test.value == 0 { test.mask } else { test.value });
            out.extend([value, value - 1, value.wrapping_add(1), value | 1 << 32, value | 1 << 63]);
        }
    }
    out.sort_unstable();
    out.dedup();
    out
}

#[test]
fn every_number_and_every_edge_is_decided_as_the_table_says() {
    let edges = edges();
    for profile in PROFILES {
        let program = compile(profile);
        for number in (0..600).chain([0x3fff_ffff, 0x4000_0000, 0x4000_0001, u32::MAX]) {
            let values: &[u64] = if by_arguments(number) { &edges } else { &[0, u64::MAX] };
            for value in values.iter().copied() {
                for arguments in
                    [[value; 6], [value, 0, 0, 0, 0, 0], [2, 1, value, 0, 0, 0], [0, value, 0, 0, 0, 0]]
                {
                    let got = interpret(&program, X86_64, number, arguments);
                    assert_eq!(
                        got,
                        expected(profile, number, arguments),
                        "{profile:?} {number} {arguments:x?}"
                    );
                }
            }
        }
    }
}

#[test]
fn another_architecture_is_killed() {
    for arch in [0x4000_0003, 0xc000_00b7, 0, u32::MAX] {
        assert_eq!(interpret(&compile(Profile::Command), arch, 0, [0; 6]), KILLED);
    }
}

#[test]
fn the_agent_may_do_whatever_a_command_may() {
    for row in ROWS {
        for value in edges() {
            for arguments in
                [[value; 6], [value, 0, 0, 0, 0, 0], [0, value, 0, 0, 0, 0], [0, 0, value, 0, 0, 0]]
            {
                if row.command.decide(arguments) == Verdict::Allow {
                    assert_eq!(row.agent.decide(arguments), Verdict::Allow, "{}", row.why);
                }
            }
        }
    }
}

#[test]
fn filters_are_short_and_no_number_stands_twice() {
    let mut numbers: Vec<_> = ROWS.iter().flat_map(|row| row.numbers).collect();
    numbers.sort();
    let count = numbers.len();
    numbers.dedup();
    assert_eq!(numbers.len(), count);
    for profile in PROFILES {
        assert!(compile(profile).len() < 400, "{}", compile(profile).len());
    }
}

#[test]
fn the_published_list_is_the_table() {
    let mut text = String::new();
    for row in ROWS {
        writeln!(
            text,
            "{}\n  agent {:?}\n  command {:?}\n  gateway {:?}\n  {:?}",
            row.why, row.agent, row.command, row.gateway, row.numbers
        )
        .unwrap();
    }
    expect_test::expect_file!["golden.txt"].assert_eq(&text);
}

#[test]
fn the_importers_list_is_published_too_and_names_known_calls_once() {
    let mut text = String::new();
    let mut numbers = Vec::new();
    for Stages { numbers: row, rule, why } in STAGES {
        writeln!(text, "{why}\n  {rule:?}\n  {row:?}").unwrap();
        numbers.extend(*row);
    }
    expect_test::expect_file!["importer.txt"].assert_eq(&text);
    let count = numbers.len();
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), count);
    assert!(numbers.iter().all(|number| ROWS.iter().any(|row| row.numbers.contains(number))));
}

#[test]
fn who_unpacks_gets_no_process_no_code_and_no_socket() {
    let decide = |number: i64, arguments| {
        let row = ROWS.iter().find(|row| row.numbers.contains(&number)).unwrap();
        row.rule(number, Profile::Importer).decide(arguments)
    };
    let refused = Verdict::Fail(Errno::EPERM);
    for number in [
        libc::SYS_execve,
        libc::SYS_fork,
        libc::SYS_vfork,
        libc::SYS_socket,
        libc::SYS_ptrace,
        libc::SYS_mount,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_kill,
        libc::SYS_mknodat,
        libc::SYS_memfd_create,
        libc::SYS_bpf,
        libc::SYS_ioctl,
    ] {
        assert_eq!(decide(number, [0; 6]), refused, "{number}");
    }
    // As fork(2) and a thread of the C library.
    assert_eq!(decide(libc::SYS_clone, [0x0120_0011, 0, 0, 0, 0, 0]), refused);
    assert_eq!(decide(libc::SYS_clone, [0x003d_0f00, 0, 0, 0, 0, 0]), Verdict::Allow);
    assert_eq!(decide(libc::SYS_clone3, [0; 6]), Verdict::Fail(Errno::ENOSYS));
    assert_eq!(decide(libc::SYS_mprotect, [0, 4096, 1, 0, 0, 0]), Verdict::Allow);
    assert_eq!(decide(libc::SYS_mprotect, [0, 4096, 5, 0, 0, 0]), refused);
}

#[test]
fn a_gateway_reaches_machines_only_where_it_is_said_to() {
    let decide = |profile, arguments| {
        let row = ROWS.iter().find(|row| row.numbers.contains(&libc::SYS_socket)).unwrap();
        row.rule(libc::SYS_socket, profile).decide(arguments)
    };
    let refused = Verdict::Fail(Errno::EAFNOSUPPORT);
    let nonblocking = 1 | 0o4000 | 0o200_0000;
    let stream = [40, nonblocking, 0, 0, 0, 0];
    assert_eq!(decide(Profile::Gateway, stream), refused);
    assert_eq!(decide(Profile::GatewayOfMachines, stream), Verdict::Allow);
    // Datagrams, another protocol, IP, netlink, AF_ALG.
    for other in [[40, 2, 0], [40, 1, 1], [2, 1, 0], [10, 1, 0], [16, 3, 0], [38, 5, 0]] {
        let arguments = [other[0], other[1], other[2], 0, 0, 0];
        assert_eq!(decide(Profile::GatewayOfMachines, arguments), refused, "{other:?}");
    }
}

#[test]
fn every_row_has_names_and_a_name_leads_back() {
    for number in ROWS.iter().flat_map(|row| row.numbers) {
        let number = u32::try_from(*number).unwrap();
        let name = name_of(number).unwrap_or_else(|| panic!("{number} has no name"));
        assert_eq!(number_of(name), Some(number), "{name}");
    }
    assert_eq!((number_of("no_such_call"), number_of("uretprobe")), (None, None));
}

#[test]
fn what_is_denied_is_refused_whatever_its_arguments_and_nothing_else_changes() {
    let denied = [libc::SYS_socket, libc::SYS_mkdir, libc::SYS_ptrace, libc::SYS_clone3, libc::SYS_sync]
        .map(|number| u32::try_from(number).unwrap());
    let plain = compile_beyond(Profile::Command, Profile::Agent, &[]);
    let stricter = compile_beyond(Profile::Command, Profile::Agent, &denied);
    let eperm = expected(Profile::Command, 101, [0; 6]);
    for number in 0..600 {
        for arguments in [[0; 6], [1; 6], [2, 1, 0, 0, 0, 0]] {
            let [before, after] =
                [&plain, &stricter].map(|program| interpret(program, X86_64, number, arguments));
            let is_new = denied[..2].contains(&number) || number == denied[4];
            assert_eq!(after, if is_new { eperm } else { before }, "{number} {arguments:?}");
        }
    }
}

proptest! {
    /// The kernel takes the strictest of all filters; an error of the later one wins over an error of the earlier.
    #[test]
    fn the_agents_filter_and_what_goes_beyond_it_are_the_commands(number: u32, small in 0u32..600, arguments: [u64; 6]) {
        let (below, above) = (compile(Profile::Agent), compile_beyond(Profile::Command, Profile::Agent, &[]));
        for number in [number, small] {
            let answers = [&above, &below].map(|program| interpret(program, X86_64, number, arguments));
            let refusal = answers.into_iter().find(|answer| *answer != libc::SECCOMP_RET_ALLOW);
            let together = refusal.unwrap_or(libc::SECCOMP_RET_ALLOW);
            prop_assert_eq!(together, expected(Profile::Command, number, arguments), "{}", number);
        }
        prop_assert!(above.len() < 100);
    }

    #[test]
    fn any_call_is_decided_as_the_table_says(number: u32, arguments: [u64; 6]) {
        let program = compile(Profile::Command);
        prop_assert_eq!(interpret(&program, X86_64, number, arguments), expected(Profile::Command, number, arguments));
    }
}
