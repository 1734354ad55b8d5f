//! What a sandbox could read about its host (I01, I04, I05), and what the API tells a stranger (I10).

use crate::{assert_all, outcome, sandbox_of};
use bulkhead_tests::Server;
use serde_json::json;

/// Words that would tell where and on what this runs.
fn secrets(server: &Server, id: &str) -> Vec<String> {
    let mut secrets = vec![
        server.instance().state.to_string_lossy().into_owned(),
        server.instance().name.clone(),
        id.to_owned(),
        bulkhead_tests::programs::repository().to_string_lossy().into_owned(),
        std::fs::read_to_string("/proc/cmdline").unwrap_or_default().trim().to_owned(),
    ];
    let links = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    secrets.extend(links.filter_map(|link| std::fs::read_to_string(link.path().join("address")).ok()));
    let mut secrets: Vec<String> = secrets.into_iter().map(|secret| secret.trim().to_owned()).collect();
    secrets.retain(|secret| secret.len() > 6 && secret != "00:00:00:00:00:00");
    secrets
}

#[test]
fn i01_no_file_of_proc_or_sys_names_the_host() {
    let server = Server::start();
    let sandbox = sandbox_of(&server);
    let words = json!(secrets(&server, sandbox.id())).to_string();
    // The program's own memory and arguments hold the words that it looks for: it leaves itself out.
    let program = format!(
        r##"
import time
secrets = json.loads(r'''{words}''')
own = ("/proc/self", "/proc/thread-self", "/proc/%d" % os.getpid(), "/proc/%d" % os.getppid())
end, found, count = time.time() + 10, {{}}, 0
for root in ["/proc", "/sys", "/etc", "/dev"]:
    for dir, dirs, files in os.walk(root):
        if dir.startswith(own) or "/task" in dir or time.time() > end:
            dirs[:] = []
            continue
        for name in files:
            text = read(os.path.join(dir, name)) or ""
            count += 1
            for secret in secrets:
                if secret in text:
                    found[os.path.join(dir, name)] = secret
for name in ("mountinfo", "mounts", "cgroup", "maps", "mountstats"):
    for secret in secrets:
        if secret in (read("/proc/self/" + name) or ""):
            found[name] = secret
print(json.dumps(found or {{"files %d" % count: "absent" if count > 100 else "too few"}}))"##
    );
    assert_all(&outcome(&sandbox, &program), &["absent"]);
}

#[test]
fn i04_files_that_were_never_written_are_zeros() {
    let server = Server::start();
    let run = outcome(
        &sandbox_of(&server),
        r#"
out = {}
for dir in ["/tmp", "/root", "/var/tmp", "/dev/shm"]:
    with open(dir + "/hole", "wb+") as f:
        if attempt(os.posix_fallocate, f.fileno(), 0, 4 << 20) != "ok":
            f.truncate(4 << 20)
        f.seek(0)
        out[dir] = "old bytes" if any(f.read()) else "absent"
print(json.dumps(out))"#,
    );
    assert_all(&run, &["absent"]);
}

#[test]
fn i05_the_kernels_log_and_memory_are_closed() {
    let server = Server::start();
    let results = outcome(
        &sandbox_of(&server),
        r#"
out = {"syslog": call("syslog", 3, ctypes.create_string_buffer(64), 64)}
for path in ["/proc/kmsg", "/dev/kmsg", "/proc/kcore", "/dev/mem", "/dev/kmem", "/dev/port", "/proc/kallsyms",
             "/proc/iomem", "/proc/config.gz", "/proc/keys", "/proc/key-users", "/dev/vda", "/dev/sda", "/dev/kvm"]:
    out[path] = "readable" if read(path) else "EPERM"
print(json.dumps(out))"#,
    );
    assert_all(&results, &["EPERM"]);
}

#[test]
fn i10_errors_do_not_tell_of_the_inside() {
    let server = Server::start();
    let sandbox = sandbox_of(&server);
    let client = server.client();
    let exec = format!("/sandboxes/{}/exec", sandbox.id());
    let answers = [
        client.post("/sandboxes", &json!({"name": 5})),
        client.post("/sandboxes", &json!({"name": "a", "image": "nosuch"})),
        client.post("/sandboxes", &json!({"name": "a", "labels": {"'; DROP TABLE x; --": "1"}})),
        client.call("POST", "/sandboxes", Some("{")),
        client.post(&exec, &json!({"command": "true", "cwd": "/no/such/place"})),
        client.post(&exec, &json!({"command": 5})),
        client.get("/sandboxes/%ff"),
        client.get("/sandboxes?labels=%27%3B--"),
        client.call("PATCH", "/sandboxes", Some("{}")),
        client.with_key("bh_wrong").get("/sandboxes"),
    ];
    let state = server.instance().state.to_string_lossy().into_owned();
    for answer in answers {
        let message = answer.error(answer.status);
        for word in [state.as_str(), "bulkhead-", ".rs", "panicked", "sqlite", "SELECT", "src/", client.key()]
        {
            assert!(!message.contains(word), "{word} in {message}");
        }
        assert!(answer.headers.get("server").is_none(), "{:?}", answer.headers);
    }
}
