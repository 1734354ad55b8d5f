//! Commands of other users. The tests run on the host's own passwd, so they use what every one has.

use crate::agent::{Agent, Ran};
use crate::calls::detached;
use bulkhead_protocol::agent::{ExecutionSpec, StartFailureKind};

fn run(agent: &Agent, user: &str, script: &str) -> Ran {
    let spec = ExecutionSpec { user: Some(user.into()), ..ExecutionSpec::attached(script.into()) };
    let (status, body) = agent.post(&spec);
    assert_eq!(status, 200, "{user}");
    crate::agent::Streaming::new(body).collect()
}

#[test]
fn another_user_has_its_ids_and_no_capability_at_all() {
    let agent = Agent::start();
    let script = "id -u; id -g; id -G; grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status; echo $HOME $USER $LOGNAME $PWD; \
                  cat /etc/shadow 2>/dev/null; echo x 2>/dev/null > /etc/passwd; echo $?; kill -0 1 2>/dev/null; echo $?";
    let none = "0000000000000000";
    let caps = format!("CapInh:\t{none}\nCapPrm:\t{none}\nCapEff:\t{none}\nCapAmb:\t{none}\n");
    assert_eq!(
        run(&agent, "4242", script).stdout(),
        format!("4242\n4242\n4242\n{caps}/ 4242 4242 /\n1\n1\n")
    );
    assert_eq!(run(&agent, "4242:7", "id -u; id -g; id -G").stdout(), "4242\n7\n7\n");
    assert_eq!(run(&agent, "daemon", "id -un; id -gn; echo $USER").stdout(), "daemon\ndaemon\ndaemon\n");
    let root = run(&agent, "root", "id -u; echo $HOME; grep CapEff /proc/self/status");
    assert_eq!(root.stdout(), format!("0\n/root\nCapEff:\t{:016x}\n", bulkhead_sys::caps::TENANT));
    assert_eq!(run(&agent, "0:0", "id -u; id -g").stdout(), "0\n0\n");
}

#[test]
fn hostile_strings_never_run_anything() {
    let agent = Agent::start();
    for user in [
        "0x0",
        "-1",
        "4294967296",
        "4294967295",
        "2147483648",
        " 0",
        "+0",
        "0:0:0",
        "root\n",
        "١",
        "",
        ":",
        "0:",
        "65533",
        "0:65533",
        "65536",
        "no-such-user",
        "root:no-such-group",
        "00",
        "Root",
        "root\0",
    ] {
        let spec = ExecutionSpec { user: Some(user.into()), ..detached("id") };
        assert_eq!(agent.refusal(&spec), StartFailureKind::NoSuchUser, "{user:?}");
    }
    assert_eq!(agent.leaves(), 0);
}

#[test]
fn a_home_that_may_not_be_entered_is_no_reason_to_fail_and_a_given_directory_is() {
    let agent = Agent::start();
    assert_eq!(run(&agent, "nobody", "pwd").stdout(), "/\n");
    let spec = ExecutionSpec { user: Some("nobody".into()), cwd: Some("/root".into()), ..detached("id") };
    let denied = std::fs::metadata("/root").unwrap().permissions();
    if std::os::unix::fs::PermissionsExt::mode(&denied) & 0o001 == 0 {
        assert_eq!(agent.refusal(&spec), StartFailureKind::DirectoryDenied);
    }
}
