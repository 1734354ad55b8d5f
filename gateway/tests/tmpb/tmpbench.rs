use crate::world::World;
use serde_json::json;
use std::io::{Read, Write};
#[test]
#[ignore]
fn bench() {
    let world = World::new();
    let id = world.sandbox("code");
    for enc in ["", "?encoding=base64"] {
    for cmd in ["flood", "flood long", "flood short"] {
        let client = world.client();
        let mut stream = client.connect();
        stream.write_all(&client.text("POST", &format!("/api/sandboxes/{id}/exec-stream{enc}"), json!({"command": cmd}).to_string().as_bytes())).unwrap();
        let mut buf = vec![0; 1 << 18];
        let start = std::time::Instant::now();
        let mut total = 0;
        while total < 1 << 30 { let n = stream.read(&mut buf).unwrap(); if n == 0 { break; } total += n; }
        let t = start.elapsed().as_secs_f64();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", world.pid())).unwrap();
        let f: Vec<&str> = stat.split(' ').collect();
        eprintln!("{cmd}{enc}: {:.0} MB/s on the wire, gateway cpu utime {} stime {}", total as f64 / t / 1e6, f[13], f[14]);
    }}
}
