//! X08 and X16: one archive that two readers read differently, and archives that are nearly right.

use super::{Field, MAKERS};
use bulkhead_tests::Server;
use serde_json::Value;

/// Makes each case, lists it as GNU tar does, and prints names by case.
const CASES: &str = r#"
import json, subprocess
def raw(name, size, data, kind=b"0"):
    one = tarfile.TarInfo(name)
    one.type, one.size = kind, size
    return one.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)
def pax(**records):
    text = b""
    for key, value in records.items():
        rest = len(key) + len(value) + 3
        length = rest + len(str(rest + 2))
        text += b"%d %s=%s\n" % (length, key.encode(), value.encode())
    return raw("pax", len(text), text, b"x")
inner = raw("inner", 4, b"evil")
end = bytes(1024)
cases = {
    "pax size larger": pax(size="1024") + raw("f", 0, b"") + inner + end,
    "pax size smaller": pax(size="0") + raw("f", 1024, b"") + inner + end,
    "two archives": raw("f", 4, b"text") + end + inner + end,
    "garbage behind the end": raw("f", 4, b"text") + end + b"g" * 5000,
    "no end": raw("f", 4, b"text"),
    "one empty record": raw("f", 4, b"text") + bytes(512) + inner + end,
    "long name, then pax": raw("././@LongLink", 6, b"first\0", b"L") + pax(path="second") + raw("f", 4, b"text") + end,
    "pax path twice": pax(path="first") + pax(path="second") + raw("f", 4, b"text") + end,
    "directory with content": raw("d", 1024, b"", b"5") + inner + end,
    "link with content": raw("l", 1024, b"", b"2") + inner + end,
    "negative pax size": pax(size="-1") + raw("f", 4, b"text") + end,
}
listed = {}
for number, (name, data) in enumerate(cases.items()):
    with open("/root/x/a.%d.tar" % number, "wb") as out: out.write(data)
    told = subprocess.run(["tar", "tf", "/root/x/a.%d.tar" % number], capture_output=True)
    listed[name] = sorted(told.stdout.decode().split())
print(json.dumps(list(listed.items())))
"#;

#[test]
fn x08_one_archive_has_one_reading_or_none() {
    let server = Server::start();
    let field = Field::new(&server);
    let cases = field.sandbox.python(&format!("{MAKERS}\n{CASES}"));
    let cases = cases.as_array().expect("cases").clone();
    assert!(cases.len() > 10);
    for (number, case) in cases.iter().enumerate() {
        let name = case[0].as_str().expect("a name");
        let _cleared = field.sandbox.exec("rm -rf /root/x/in; mkdir /root/x/in").ok();
        let answer = field.extract(&format!("a.{number}.tar"));
        let found: Vec<Value> =
            field.inside().lines().map(|name| name.trim_start_matches("./").into()).collect();
        match answer.status {
            200 => assert_eq!(Value::from(found), case[1], "{name}: as GNU tar reads it"),
            status => assert_eq!(status, 400, "{name}: {}", answer.text()),
        }
        println!("{name}: {}", answer.status);
        field.assert_contained(name);
    }
}

#[test]
fn x16_archives_that_are_nearly_right_have_a_typed_answer() {
    const ARCHIVES: usize = 120;
    let server = Server::start();
    let field = Field::new(&server);
    let program = format!(
        "{MAKERS}\nimport random\nrandom.seed(7)\n\
         tar([member('d', DIR), member('d/f', data=b'x' * 700), member('l', LINK, '/etc'), member('h', HARD, 'd/f'), \
         member('n' * 200)])\n\
         z = zipfile.ZipFile('/root/x/a.zip', 'w', zipfile.ZIP_DEFLATED)\nz.writestr('d/f', b'x' * 700)\nz.writestr('g', b'')\nz.close()\n\
         for n in range({ARCHIVES}):\n  form = ('tar', 'zip')[n % 2]\n  data = bytearray(open('/root/x/a.' + form, 'rb').read())\n  \
         for _ in range(random.choice([1, 1, 2, 8])):\n    data[random.randrange(len(data))] = random.choice([0, 1, 46, 47, 48, 53, 255, random.randrange(256)])\n  \
         n % 7 or data.__delitem__(slice(random.randrange(len(data)), None))\n  \
         open('/root/x/a.%d.%s' % (n, form), 'wb').write(data)\nprint('0')"
    );
    let _made = field.sandbox.python(&program);
    let mut whole = 0;
    for number in 0..ARCHIVES {
        let form = ["tar", "zip"][number % 2];
        let answer = field.extract(&format!("a.{number}.{form}"));
        assert!([200, 400, 409].contains(&answer.status), "{number}: {} {}", answer.status, answer.text());
        whole += usize::from(answer.status == 200);
    }
    println!("{whole} of {ARCHIVES} were read");
    assert!(whole > 0 && whole < ARCHIVES, "{whole} of {ARCHIVES} were read");
    field.assert_contained("nearly right");
}
