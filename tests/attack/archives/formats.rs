//! X13 and X15: programs that nobody may run, and what zip has of its own.

use super::Field;
use bulkhead_tests::Server;

#[test]
fn x13_no_program_of_the_sandbox_packs_or_unpacks() {
    let server = Server::start();
    let field = Field::new(&server);
    let plant = "mkdir -p /root/bin; for name in tar gzip gunzip unpigz pigz bzip2 bunzip2 xz unxz zstd zip unzip; do \
                 printf '#!/bin/sh\\necho run >> /root/ran\\n' > /root/bin/$name; \
                 chmod 755 /root/bin/$name; done; echo 'export PATH=/root/bin:$PATH' > /root/.profile; \
                 cp /root/.profile /root/.bashrc; mkdir -p /root/x/d; echo text > /root/x/d/f; \
                 PATH=/root/bin:$PATH gzip; test -s /root/ran && rm /root/ran";
    let _planted = field.sandbox.exec(plant).ok();
    for format in ["tar", "tar.gz", "tar.bz2", "tar.zst", "zip"] {
        let call = format!("/files/compress?path=/root/x/d&format={format}");
        let _packed = field.sandbox.client().call("POST", &field.sandbox.path(&call), None).expect(200);
        let _unpacked = field.extract(&format!("d.{format}")).expect(200);
        assert_eq!(
            field.sandbox.exec("cat /root/x/in/d/f; rm -r /root/x/in/d").ok().stdout,
            "text\n",
            "{format}"
        );
    }
    assert_eq!(
        field.sandbox.exec("ls /root/ran 2>&1 | grep -c 'No such'").line(),
        "1",
        "a planted program ran"
    );
}

#[test]
fn x15_a_zip_leads_nowhere_either() {
    let server = Server::start();
    let field = Field::new(&server);
    let entries = |entries: &str| {
        format!(
            "def entry(name, data=b'evil', mode=0o100644):\n  one = zipfile.ZipInfo(name)\n  \
             one.create_system, one.external_attr = 3, mode << 16\n  return one, data\n\
             out = zipfile.ZipFile('/root/x/a.zip', 'w')\nfor one in [{entries}]: out.writestr(*one)\nout.close()\n"
        )
    };
    let edit = |entries_of: &str, edit: &str| {
        entries(entries_of)
            + &format!(
                "data = bytearray(open('/root/x/a.zip', 'rb').read())\n{edit}\nopen('/root/x/a.zip', 'wb').write(data)"
            )
    };
    let link = "0o120777";
    for program in [
        entries("entry('../evil')"),
        entries("entry('/root/x/evil')"),
        entries("entry('d/../../evil')"),
        entries(&format!("entry('l', b'../out', {link}), entry('l/file')")),
        entries(&format!("entry('l', b'/root/x/out/dir', {link}), entry('l/', b'', 0o040777)")),
        entries("entry('n', b'', 0o020666)"),
        entries("entry('n', b'', 0o010666)"),
        // Encrypted, as both headers say.
        edit("entry('f')", "data[6] |= 1; data[data.find(b'PK\\1\\2') + 8] |= 1"),
        // The name before the content is another.
        edit("entry('f')", "data[30:31] = b'g'"),
        // Two entries of the directory share their content.
        edit(
            "entry('f'), entry('g')",
            "at = data.find(b'g', data.rfind(b'PK\\1\\2')) - 4; data[at:at + 4] = bytes(4)",
        ),
        // The directory says less than there is.
        edit("entry('f')", "at = data.find(b'PK\\1\\2') + 20; data[at:at + 8] = struct.pack('<II', 2, 2)"),
        "open('/root/x/a.zip', 'wb').write(b'PK\\5\\6' + b'\\xff' * 18)".to_owned(),
    ] {
        field.assert_refused(&program, "a.zip");
    }
}
