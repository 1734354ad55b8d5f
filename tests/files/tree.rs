//! Whole directories: compress, extract, and tar streams.

use crate::{download, get, path, post, stdout, upload};
use bulkhead_tests::Server;

#[test]
fn every_format_there_and_back() {
    let server = Server::start();
    let sandbox = server.create();
    upload(&sandbox, b"/root/d/a b", b"one");
    upload(&sandbox, b"/root/d/e/\xff", b"two");
    for format in ["tar", "tar.gz", "tar.bz2", "tar.zst", "zip"] {
        stdout(&post(&sandbox, &format!("/compress?path=/root/d&format={format}")));
        stdout(&post(&sandbox, &format!("/extract?archive=/root/d.{format}&dest=/root/out-{format}")));
        assert_eq!(download(&sandbox, format!("/root/out-{format}/d/a b").as_bytes()), b"one", "{format}");
        // Inside of what was packed, as one client does it.
        stdout(&post(&sandbox, &format!("/extract?archive=/root/d.{format}&dest=/root/d/in")));
        assert_eq!(sandbox.exec("cat /root/d/in/d/e/*").ok().stdout, "two", "{format}");
        let _cleared = sandbox.exec("rm -r /root/d/in").ok();
    }
    stdout(&post(&sandbox, "/compress?path=/root/d"));
    assert_eq!(sandbox.exec("tar tzf /root/d.tar.gz | grep -c '^d/'").ok().line(), "4");
}

#[test]
fn a_directory_comes_and_goes_as_a_tar_stream() {
    let server = Server::start();
    let sandbox = server.create();
    upload(&sandbox, b"/root/d/a", b"one");
    upload(&sandbox, b"/root/d/e/f", &vec![b'x'; 3_000_000]);
    let tar = get(&sandbox, "/download?path=/root/d&format=tar").expect(200);
    assert_eq!(tar.headers["content-type"], "application/x-tar");
    let answer = sandbox.client().upload(&path(&sandbox, "/upload?path=/root/back&format=tar"), &tar.body);
    assert_eq!(answer.expect(200).data()["size"], 3_000_003);
    assert_eq!(sandbox.exec("diff -r /root/d /root/back && echo same").ok().line(), "same");
    let broken = &tar.body[..tar.body.len() / 2];
    let answer = sandbox.client().upload(&path(&sandbox, "/upload?path=/root/half&format=tar"), broken);
    let error = answer.error(400);
    assert!(error.starts_with("body: "), "{error}");
}

#[test]
fn an_environment_of_python_works_where_it_was_unpacked_to() {
    let server = Server::start();
    let sandbox = server.create();
    let _made =
        sandbox.exec("python3 -m venv --without-pip /root/a/venv && ln -s ../venv /root/a/venv/up").ok();
    for format in ["tar.gz", "zip"] {
        stdout(&post(&sandbox, &format!("/compress?path=/root/a/venv&format={format}")));
        stdout(&post(&sandbox, &format!("/extract?archive=/root/a/venv.{format}&dest=/root/{format}")));
        let run = format!(
            "cd /root/{format}/venv && readlink bin/python3 lib64 up && \
             bin/python3 -c 'import sys; print(sys.prefix)' && diff -r --no-dereference /root/a/venv . && echo same"
        );
        let told = sandbox.exec(&run).ok().stdout;
        let expected = format!("/usr/bin/python3\nlib\n../venv\n/root/{format}/venv\nsame\n");
        assert_eq!(told, expected, "{format}");
    }
}
