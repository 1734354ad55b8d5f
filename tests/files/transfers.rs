//! Content: exact whatever it is, atomic, in ranges, and many at once.

use crate::{download, get, path, upload};
use bulkhead_tests::{Server, eventually, raw};
use std::io::{Read, Write};
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// A small file that came back later than this was kept waiting by others.
const PATIENCE: Duration = Duration::from_secs(20);
/// The last of many equal transfers takes less than so many times as long as the first.
const UNFAIR: f64 = 5.0;

/// Bytes that repeat nowhere near.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..length.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(length).collect()
}

#[test]
fn content_comes_back_as_it_went() {
    let server = Server::start();
    let sandbox = server.create();
    for length in [0, 1, 65_535, 65_536, 65_537, 40_000_000] {
        let content = noise(length, 7);
        upload(&sandbox, b"/root/new/dir/file", &content);
        assert!(download(&sandbox, b"/root/new/dir/file") == content, "{length} bytes");
    }
    assert_eq!(
        sandbox.exec("stat -c '%a %U' /root/new/dir/file; ls -A /root/new/dir").ok().stdout,
        "644 root\nfile\n"
    );
}

#[test]
fn a_range_is_that_part_of_the_file() {
    let server = Server::start();
    let sandbox = server.create();
    let content = noise(1_000_000, 3);
    upload(&sandbox, b"/root/f", &content);
    let target = format!("/api{}", path(&sandbox, "/download?path=/root/f"));
    for (range, status, from, to) in [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=500000-", 206, 500_000, 1_000_000),
        ("bytes=999999-5000000", 206, 999_999, 1_000_000),
        ("bytes=-100000", 206, 900_000, 1_000_000),
        ("bytes=0-1,5-6", 200, 0, 1_000_000),
    ] {
        let headers = [("X-API-Key", sandbox.client().key()), ("Range", range)];
        let answer = sandbox.client().send("GET", &target, &headers, None).expect(status);
        assert!(answer.body == content[from..to], "{range}");
        if status == 206 {
            let expected = format!("bytes {from}-{}/1000000", to - 1);
            assert_eq!(answer.headers["content-range"], expected.as_str());
        }
    }
    let headers = [("X-API-Key", sandbox.client().key()), ("Range", "bytes=1000000-")];
    let answer = sandbox.client().send("GET", &target, &headers, None).expect(416);
    assert_eq!(answer.headers["content-range"], "bytes */1000000");
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing() {
    let server = Server::start();
    let sandbox = server.create();
    upload(&sandbox, b"/root/d/kept", b"old");
    let head = |name: &str| {
        format!(
            "POST /api{} HTTP/1.1\r\nHost: t\r\nX-API-Key: {}\r\nContent-Length: 1000000\r\n\r\n",
            path(&sandbox, &format!("/upload?path=/root/d/{name}")),
            sandbox.client().key()
        )
    };
    for name in ["kept", "new"] {
        let mut stream = raw::connect(server.address());
        stream.write_all(head(name).as_bytes()).expect("the server reads");
        stream.write_all(&[b'x'; 300_000]).expect("the server reads");
        eventually("the upload is under way", || {
            match sandbox.exec("du -s --apparent-size /root/d | cut -f1").ok().line().parse::<u64>() {
                Ok(size) if size > 100 => Ok(()),
                // Its file may have no name until it is whole.
                Ok(_)
                    if !sandbox
                        .exec("ls -l /proc/*/fd 2>/dev/null | grep -c deleted")
                        .line()
                        .starts_with('0') =>
                {
                    Ok(())
                }
                other => Err(format!("{other:?}")),
            }
        });
        drop(stream);
        eventually("nothing is left", || match sandbox.exec("ls -A /root/d").ok().stdout.as_str() {
            "kept\n" => Ok(()),
            other => Err(other.to_owned()),
        });
    }
    assert_eq!(download(&sandbox, b"/root/d/kept"), b"old");
}

#[test]
fn a_download_that_nobody_reads_holds_nobody_up() {
    let server = Server::start();
    let sandbox = server.create();
    let _made = sandbox.exec("head -c 100000000 /dev/zero > /root/big").ok();
    let request = format!(
        "GET /api{} HTTP/1.1\r\nHost: t\r\nX-API-Key: {}\r\n\r\n",
        path(&sandbox, "/download?path=/root/big"),
        sandbox.client().key()
    );
    let stalled: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = raw::connect(server.address());
            stream.write_all(request.as_bytes()).expect("the server reads");
            stream.read_exact(&mut [0; 1000]).expect("it has begun");
            stream
        })
        .collect();
    assert_eq!(get(&sandbox, "/stat?path=/root/big").status, 200);
    assert_eq!(sandbox.exec("echo x").ok().stdout, "x\n");
    drop(stalled);
}

#[test]
fn a_hundred_transfers_beside_each_other_are_exact_and_fair() {
    let server = Server::start();
    let sandboxes: Vec<_> = (0..4).map(|_| server.create()).collect();
    let times: Vec<_> = std::thread::scope(|scope| {
        let start = |number: u64| {
            let sandbox = &sandboxes[usize::try_from(number % 4).expect("small")];
            scope.spawn(move || {
                let content = noise(500_000, number + 1);
                let name = format!("/root/many/{number}");
                upload(sandbox, name.as_bytes(), &content);
                let begun = Instant::now();
                assert!(download(sandbox, name.as_bytes()) == content, "{number}");
                begun.elapsed()
            })
        };
        let threads: Vec<_> = (0..100).map(start).collect();
        threads.into_iter().map(|one| one.join().expect("a transfer")).collect()
    });
    let (fastest, slowest) = (times.iter().min().expect("some"), times.iter().max().expect("some"));
    println!("fastest {fastest:?}, slowest {slowest:?}");
    assert!(*slowest < PATIENCE, "{slowest:?}");
}

#[test]
fn transfers_that_begin_together_end_together() {
    const MANY: usize = 100;
    // Several times what the buffers of a socket hold: of that, who reads first has most at once.
    const BYTES: usize = 32 << 20;
    let server = Server::start();
    let sandboxes: Vec<_> = (0..4).map(|_| server.create()).collect();
    for sandbox in &sandboxes {
        let _made = sandbox.exec(&format!("head -c {BYTES} /dev/zero > /root/f")).ok();
    }
    let mut streams: Vec<_> = (0..MANY)
        .map(|number| {
            let sandbox = &sandboxes[number % 4];
            let path = path(sandbox, "/download?path=/root/f");
            let head = format!(
                "GET /api{path} HTTP/1.1\r\nHost: t\r\nX-API-Key: {}\r\n\r\n",
                sandbox.client().key()
            );
            let mut stream = raw::connect(server.address());
            stream.write_all(head.as_bytes()).expect("the server reads");
            stream.read_exact(&mut [0; 1000]).expect("it has begun");
            stream
        })
        .collect();
    // Whose thread is started first shall not be ahead.
    let start = Barrier::new(MANY + 1);
    let times: Vec<_> = std::thread::scope(|scope| {
        let start = &start;
        let read = move |stream: &mut std::net::TcpStream| {
            let mut left = BYTES - 1000;
            let mut block = vec![0; 64 << 10];
            start.wait();
            while left > 0 {
                let count = stream.read(&mut block).expect("it goes on");
                assert!(count > 0, "{left} bytes are missing");
                left = left.saturating_sub(count);
            }
            Instant::now()
        };
        let threads: Vec<_> = streams.iter_mut().map(|stream| scope.spawn(move || read(stream))).collect();
        let begun = Instant::now();
        start.wait();
        threads.into_iter().map(|one| one.join().expect("a transfer") - begun).collect()
    });
    let (fastest, slowest) = (times.iter().min().expect("some"), times.iter().max().expect("some"));
    let ratio = slowest.as_secs_f64() / fastest.as_secs_f64();
    println!("fastest {fastest:?}, slowest {slowest:?}, {ratio:.1} to 1");
    assert!(ratio < UNFAIR, "{ratio}");
}
