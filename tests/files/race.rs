//! Paths that change while calls work on them.

use crate::{get, path, post};
use bulkhead_tests::{Sandbox, Server};

/// Calls, in all.
const CALLS: usize = 2000;
/// Clients that make them.
const CLIENTS: usize = 4;

/// Swaps a directory with links that lead everywhere, for ever; its argument is a number.
const SWAP: &str = "import os,shutil,sys
d,x,l=('/root/r/'+c+sys.argv[1] for c in 'dxl')
targets=['/','/proc/1/root','/proc/self/root','../../../../../..','/tmp','/dev/fd','/root/keep']
i=0
while True:
  i+=1
  try:
    os.path.islink(d) and os.unlink(d)
    os.path.islink(l) and os.unlink(l)
    os.makedirs(d+'/t',exist_ok=True)
    os.symlink(targets[i%len(targets)],l)
    os.rename(d,x); os.rename(l,d)
    os.unlink(d); os.rename(x,d)
  except OSError:
    shutil.rmtree(x,ignore_errors=True)
";

/// Starts four swappers.
fn swap(sandbox: &Sandbox<'_>) {
    let start = format!(
        "mkdir -p /root/r; cat > /root/swap.py <<'E'\n{SWAP}E\nfor n in 0 1 2 3; do \
         python3 /root/swap.py $n >/dev/null 2>&1 & done; wait"
    );
    let body = serde_json::json!({"command": start, "background": true});
    let _started = sandbox.post_exec(&body).expect(200);
}

#[test]
fn directories_that_become_links_lead_nowhere_else() {
    let server = Server::start();
    let sandbox = server.create();
    let canary = std::env::temp_dir().join(format!("bh-canary-{}", std::process::id()));
    std::fs::write(&canary, "untouched").expect("the host's own file");
    let name = canary.file_name().and_then(|name| name.to_str()).expect("a name");
    swap(&sandbox);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (sandbox, name) = (&sandbox, &name);
            scope.spawn(move || {
                for call in 0..CALLS / CLIENTS {
                    let dir = format!("/root/r/d{client}");
                    let answer = match call % 8 {
                        0 => post(sandbox, &format!("/create?path={dir}/tmp/{name}&content=owned")),
                        1 => sandbox.client().delete(&path(sandbox, &format!("?path={dir}/tmp/{name}"))),
                        2 => get(sandbox, &format!("/download?path={dir}/tmp/{name}")),
                        3 => post(sandbox, &format!("/copy?from={dir}/tmp/{name}&to={dir}/copy")),
                        4 => post(sandbox, &format!("/chmod?path={dir}/tmp/{name}&mode=777")),
                        5 => sandbox
                            .client()
                            .upload(&path(sandbox, &format!("/upload?path={dir}/{name}")), b"owned"),
                        6 => post(sandbox, &format!("/mkdir?path={dir}/made")),
                        _ => get(sandbox, &format!("?path={dir}")),
                    };
                    // Whatever it found: an answer, and never the host's file.
                    assert!(answer.status < 500, "{}", answer.text());
                    assert!(!answer.text().contains("untouched"), "{}", answer.text());
                }
            });
        }
    });
    let kept = std::fs::read_to_string(&canary).expect("it is still there");
    assert_eq!(kept, "untouched");
    std::fs::remove_file(&canary).expect("own file");
}

#[test]
fn walks_of_trees_follow_no_link_that_was_a_directory() {
    const WALKS: usize = 240;
    let server = Server::start();
    let sandbox = server.create();
    let _made = sandbox
        .exec("mkdir -p /root/keep/t; echo marked > /root/keep/marked.txt; echo x > /tmp/marked.txt")
        .ok();
    swap(&sandbox);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let sandbox = &sandbox;
            scope.spawn(move || {
                for call in 0..WALKS / CLIENTS {
                    let to = format!("/root/copies/{client}");
                    let answer = match call % 6 {
                        0 => get(sandbox, "?path=/root/r&recursive=true"),
                        1 => get(sandbox, "/search?path=/root/r&pattern=marked.txt"),
                        2 => get(sandbox, "/du?path=/root/r"),
                        3 => post(sandbox, &format!("/copy?from=/root/r&to={to}")),
                        4 => sandbox.client().delete(&path(sandbox, &format!("?path=/root/r/d{client}"))),
                        _ => post(sandbox, "/compress?path=/root/r&format=tar"),
                    };
                    assert!(answer.status < 500, "{call}: {} {}", answer.status, answer.text());
                    assert!(!answer.text().contains("marked.txt"), "{call}: {}", answer.text());
                }
            });
        }
    });
    let told = sandbox.exec(
        "cat /root/keep/marked.txt /tmp/marked.txt; find /root/copies -name marked.txt; \
         tar tf /root/r.tar | grep marked; ls -d /etc /usr/bin /tmp | wc -l",
    );
    assert_eq!(told.stdout, "marked\nx\n3\n", "{}", told.stderr);
}
