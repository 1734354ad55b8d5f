//! The command is one script of bash, with a home, a path and nothing on its standard input.

use bulkhead_tests::Server;
use serde_json::json;

#[test]
fn scripts_are_run_by_bash() {
    let server = Server::start();
    let sandbox = server.create();
    let rows = [
        ("echo $((6*7))", "42\n"),
        ("echo -e 'a\\tb'", "a\tb\n"),
        ("a=(1 2 3); echo ${#a[@]}", "3\n"),
        ("echo one; echo two | tr a-z A-Z", "one\nTWO\n"),
        ("cat <<'E'\n$HOME is `not` expanded\nE", "$HOME is `not` expanded\n"),
        ("false || echo or; true && echo and", "or\nand\n"),
        ("printf '%s' \"$(printf 'é\\n' | wc -c)\"", "3"),
        ("while read line; do echo \"<$line>\"; done < <(printf 'a\\nb\\n')", "<a>\n<b>\n"),
        ("[[ abc =~ b ]] && echo match", "match\n"),
        ("# only a comment\n  \n  echo indented", "indented\n"),
    ];
    for (script, expected) in rows {
        assert_eq!(sandbox.exec(script).ok().stdout, expected, "{script}");
    }
}

#[test]
fn the_surroundings_are_those_of_the_contract() {
    let server = Server::start();
    let sandbox = server.create_with(json!({"name": "a-name"}));
    let rows = [
        ("pwd", "/root"),
        ("id -u", "0"),
        ("whoami", "root"),
        ("id -g", "0"),
        ("echo $HOME", "/root"),
        ("hostname", "a-name"),
        ("umask", "0022"),
        ("stat -c %a /root", "700"),
        ("stat -c %a /tmp /var/tmp | sort -u", "1777"),
        ("ls -A /root /home /tmp /var/tmp | grep -v : | tr -d '\\n'", ""),
        ("head -n 1 /etc/passwd", "root:x:0:0:root:/root:/bin/bash"),
        ("python3 -c 'print(2**10)'", "1024"),
        ("printf x | gzip | gunzip", "x"),
        ("getent hosts localhost | wc -l", "1"),
    ];
    for (script, expected) in rows {
        assert_eq!(sandbox.exec(script).line(), expected, "{script}");
    }
    let tools = "ls cat echo seq sleep date whoami pwd uname env sort head touch mkdir rm df stat du cp mv chmod \
                 grep find tar gzip python3 bash sh awk sed";
    assert_eq!(
        sandbox.exec(&format!("for t in {tools}; do command -v $t >/dev/null || echo $t; done")).line(),
        ""
    );
}

#[test]
fn node_runs() {
    let server = Server::start();
    let sandbox = server.create();
    let run =
        sandbox.exec("command -v node >/dev/null || { echo absent; exit; }; node -e 'console.log(6*7)'");
    let expected = if std::path::Path::new("/usr/bin/node").exists() { "42" } else { "absent" };
    assert_eq!(run.line(), expected, "{}", run.data);
}

#[test]
fn the_directory_is_the_one_asked_for() {
    let server = Server::start();
    let sandbox = server.create();
    let _run = sandbox.exec("mkdir -p '/root/a b/c' && ln -s /var/tmp /tmp/link").ok();
    let rows = [
        ("/tmp", "/tmp"),
        ("/var", "/var"),
        ("/", "/"),
        ("a b/c", "/root/a b/c"),
        ("..", "/"),
        (".", "/root"),
    ];
    for (cwd, expected) in rows {
        assert_eq!(sandbox.exec_with("pwd", json!({"cwd": cwd})).line(), expected, "{cwd}");
    }
    assert_eq!(sandbox.exec_with("pwd -P", json!({"cwd": "/tmp/link"})).line(), "/var/tmp");
    assert_eq!(sandbox.exec_with("pwd", json!({"cwd": ""})).line(), "/root");
}

#[test]
fn standard_input_is_empty() {
    let server = Server::start();
    let sandbox = server.create();
    assert_eq!(sandbox.exec("wc -c; readlink /proc/self/fd/0").ok().stdout, "0\n/dev/null\n");
}

#[test]
fn files_stay_and_variables_do_not() {
    let server = Server::start();
    let sandbox = server.create();
    let _run = sandbox
        .exec("cd /tmp; export A=1; echo kept > /root/file; mkdir -p /opt/x && echo y > /etc/own")
        .ok();
    assert_eq!(sandbox.exec("pwd; echo \"[$A]\"; cat file /etc/own").stdout, "/root\n[]\nkept\ny\n");
    let other = server.create();
    assert_eq!(other.exec("for f in /root/file /opt/x /etc/own; do test -e $f && echo $f; done").stdout, "");
}
