//! An upgrade from the programs of the release before, which the long form of scripts/test builds from history.

use bulkhead_protocol::agent::{AGENT_PROTOCOL, OLDEST_AGENT_PROTOCOL};
use bulkhead_tests::{Options, Sandbox, Server, Terminal, programs};
use serde_json::json;

/// Everything that goes to an agent: commands, streams, files, a terminal.
fn serves(sandbox: &Sandbox<'_>) {
    assert_eq!(sandbox.exec("cat /root/kept; exit 3").code, 3);
    let streamed = sandbox.stream("seq 2000; exit 4").collect();
    assert!(streamed.stdout.ends_with("\n2000\n") && streamed.code() == 4, "{streamed:?}");
    let files = |rest: &str| sandbox.path(&format!("/files{rest}"));
    let content = vec![b'x'; 1 << 20];
    assert_eq!(sandbox.client().upload(&files("/upload?path=/root/up"), &content).status, 200);
    assert!(sandbox.client().get(&files("/download?path=/root/up")).expect(200).body == content);
    let session = format!("/pty/sessions/{}", sandbox.session(&json!({})));
    let mut terminal = Terminal::open(sandbox.client(), &sandbox.path(&session), "");
    let _greeting = terminal.prompt();
    assert!(terminal.command("echo $((6*7))").contains("42\r\n"));
}

#[test]
fn a_sandbox_of_the_release_before_goes_on_under_this_one_and_wakes_with_its_agent() {
    let older = programs::repository().join("target/older/bin");
    assert!(older.join("bulkhead").is_file(), "{} is missing: scripts/test builds it", older.display());
    let environment = vec![("BULKHEAD_LOG".to_owned(), "debug".to_owned())];
    let mut server =
        Server::start_with(&Options { programs: Some(older), environment, ..Options::default() });
    let id = server.create().id().to_owned();
    let sandbox = Sandbox::of(&server, &id);
    assert_eq!(sandbox.exec("echo kept >/root/kept").code, 0);
    let pid = sandbox.run("exec sleep 600");
    server.upgrade();
    let sandbox = Sandbox::of(&server, &id);
    let said = |protocol: u32| {
        let word = format!("protocol={protocol}");
        let told =
            |line: &str| line.contains("an agent said hello") && line.split(' ').any(|part| part == word);
        server.log().lines().filter(|line| told(line)).count()
    };
    assert!(sandbox.lists(pid), "what ran goes on");
    serves(&sandbox);
    assert_eq!((said(OLDEST_AGENT_PROTOCOL), said(AGENT_PROTOCOL)), (1, 0), "the agent is the one of before");
    assert_eq!(sandbox.kill(pid), 1);
    for turn in ["/sleep", "/wake"] {
        assert_eq!(sandbox.client().call("POST", &sandbox.path(turn), None).status, 200, "{turn}");
    }
    serves(&sandbox);
    assert_eq!(said(AGENT_PROTOCOL), 1, "it woke with an agent of this release");
    sandbox.delete();
}
