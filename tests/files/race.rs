//! Paths that change while calls work on them.

use crate::{get, path, post};
use bulkhead_tests::Server;

/// Calls, in all.
const CALLS: usize = 2000;
/// Clients that make them.
const CLIENTS: usize = 4;

#[test]
fn directories_that_become_links_lead_nowhere_else() {
    let server = Server::start();
    let sandbox = server.create();
    let canary = std::env::temp_dir().join(format!("bh-canary-{}", std::process::id()));
    std::fs::write(&canary, "untouched").expect("the host's own file");
    let name = canary.file_name().and_then(|name| name.to_str()).expect("a name");
    let swap = "import os,sys\nn=sys.argv[1]\nos.makedirs('/root/r/d'+n,exist_ok=True)\n\
        targets=['/','/proc/1/root','/proc/self/root','../../../../../..','/tmp','/dev/fd']\ni=0\n\
        while True:\n  i+=1\n  l='/root/r/l'+n\n  \
        os.path.islink(l) and os.unlink(l)\n  os.symlink(targets[i%len(targets)],l)\n  \
        os.rename('/root/r/d'+n,'/root/r/x'+n); os.rename(l,'/root/r/d'+n)\n  \
        os.unlink('/root/r/d'+n); os.rename('/root/r/x'+n,'/root/r/d'+n)\n";
    let start = format!(
        "mkdir -p /root/r; cat > /root/swap.py <<'E'\n{swap}E\nfor n in 0 1 2 3; do python3 /root/swap.py $n >/dev/null 2>&1 & done"
    );
    let body = serde_json::json!({"command": start + "; wait", "background": true});
    let _started = sandbox.post_exec(&body).expect(200);
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
