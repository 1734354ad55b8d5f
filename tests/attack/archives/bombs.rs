//! X07: little that unpacks to much.

use super::Field;
use bulkhead_tests::Server;

/// Above the floor below which no ratio is looked at, and above the ratio, in MiB.
const ZEROS_MIB: u64 = 65;

#[test]
fn x07_bombs_end_at_a_bound_and_cost_their_own_sandbox_alone() {
    let server = Server::start();
    let neighbour = server.create();
    let field = Field::new(&server);
    let zeros = format!("data = bytes({ZEROS_MIB} << 20)\n");
    let compressed = |form: &str, name: &str| {
        format!(
            "{zeros}with tarfile.open('/root/x/{name}', 'w:{form}') as out: out.addfile(member('z', data=data)[0], io.BytesIO(data))"
        )
    };
    let deep = "tar([member('d/' * 300 + 'f')])";
    let sparse = "one, _ = member('s', data=b'')\none.type = tarfile.GNUTYPE_SPARSE\ntar([(one, b'')])";
    let huge = "tar([member('f', pax_headers={'size': str(2**63 - 1)})])";
    let zip =
        format!("{zeros}zipfile.ZipFile('/root/x/a.zip', 'w', zipfile.ZIP_DEFLATED).writestr('z', data)");
    let empty = "with open('/root/x/a.zip', 'wb') as out:\n  name = b'n' * 65000\n  \
                 entry = b'PK\\x01\\x02' + struct.pack('<HHHHHHIIIHHHHHII', 20, 20, 0, 0, 0, 33, 0, 0, 0, 65000, 0, 0, 0, 0, 0, 0) + name\n  \
                 for n in range(300): out.write(entry)\n  \
                 out.write(b'PK\\x05\\x06' + struct.pack('<HHHHIIH', 0, 0, 300, 300, 300 * len(entry), 0, 0))";
    let bombs: Vec<(String, &str)> = vec![
        (compressed("gz", "a.tar.gz"), "a.tar.gz"),
        (compressed("bz2", "a.tar.bz2"), "a.tar.bz2"),
        (zip, "a.zip"),
        (empty.to_owned(), "a.zip"),
        (deep.to_owned(), "a.tar"),
        (sparse.to_owned(), "a.tar"),
        (huge.to_owned(), "a.tar"),
    ];
    for (program, archive) in &bombs {
        field.assert_refused(program, archive);
        let used = field.sandbox.exec("du -sm /root/x/in | cut -f1").ok().line().parse::<u64>().expect("MiB");
        assert!(used < ZEROS_MIB + 1, "{archive}: {used} MiB");
        assert_eq!(neighbour.exec("echo well").stdout, "well\n", "{archive}");
    }
}
