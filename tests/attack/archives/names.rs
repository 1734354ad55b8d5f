//! X01 to X04 and X06: names, links, entries twice, special nodes and bits.

use super::Field;
use bulkhead_tests::Server;

#[test]
fn x01_names_that_lead_out_are_refused() {
    let server = Server::start();
    let field = Field::new(&server);
    let long = "\"n/\" * 32768 + \"evil\"";
    for name in [
        "\"../evil\"",
        "\"/evil\"",
        "\"/etc/evil\"",
        "\"a/../../evil\"",
        "\"./../evil\"",
        "\"a/..\"",
        "\"\"",
        "\"n\" * 256",
        long,
    ] {
        field.assert_refused(&format!("tar([member({name})])"), "a.tar");
        field.assert_refused(&format!("tar([member('first'), member({name})])"), "a.tar");
    }
    // A name with a NUL is two names: what stands before it, and all of it.
    field.assert_refused("tar([member('ok', pax_headers={'path': 'ok\\0/../../evil'})])", "a.tar");
    // What leads out elsewhere is a name here.
    field.clear();
    let answer =
        field.unpack("tar([member('C:\\\\evil'), member('..\\\\evil'), member('./.hidden//f')])", "a.tar");
    let _unpacked = answer.expect(200);
    assert_eq!(field.inside(), "./..\\evil\n./.hidden\n./.hidden/f\n./C:\\evil\n");
    field.assert_contained("backslashes");
}

#[test]
fn x02_no_file_is_written_through_a_link() {
    let server = Server::start();
    let field = Field::new(&server);
    for members in [
        "member('l', LINK, '/'), member('l/etc/evil')",
        "member('l', LINK, '../out'), member('l/file')",
        "member('l', LINK, '..'), member('m', LINK, 'l/out'), member('m/file')",
        "member('d', DIR), member('d/l', LINK, '../../out'), member('d/l/dir/evil')",
        "member('l', LINK, 'm'), member('m', LINK, 'l'), member('l/evil')",
        "member('l', LINK, '../out/file'), member('h', HARD, 'l')",
        "member('h', HARD, '../out/file')",
        "member('h', HARD, '/root/x/out/file')",
        "member('l', LINK, '../out'), member('h', HARD, 'l/file')",
    ] {
        field.assert_refused(&format!("tar([{members}])"), "a.tar");
    }
    // A link that was there before the archive came.
    field.clear();
    let _planted = field.sandbox.exec("ln -s ../out /root/x/in/l; ln -s ../out/file /root/x/in/f").ok();
    let answer = field.unpack("tar([member('l/file')])", "a.tar");
    assert_eq!(answer.status, 400, "{}", answer.text());
    let _unpacked = field.unpack("tar([member('f')])", "a.tar").expect(200);
    assert_eq!(
        field.sandbox.exec("cat /root/x/in/f; test -L /root/x/in/f || echo replaced").ok().stdout,
        "evilreplaced\n"
    );
    field.assert_contained("planted");
    // Links alone are data, wherever they lead.
    field.clear();
    let _unpacked = field
        .unpack("tar([member('a', LINK, '/usr/bin/python3'), member('b', LINK, '../../..')])", "a.tar")
        .expect(200);
    assert_eq!(
        field.sandbox.exec("readlink /root/x/in/a /root/x/in/b").ok().stdout,
        "/usr/bin/python3\n../../..\n"
    );
    field.assert_contained("links");
}

#[test]
fn x03_no_directory_entry_changes_what_a_link_leads_to() {
    let server = Server::start();
    let field = Field::new(&server);
    for members in [
        "member('l', LINK, '../out/dir'), member('l', DIR, mode=0o777)",
        "member('l', LINK, '/root/x/out/dir'), member('l/', DIR, mode=0o777, uid=1, mtime=9)",
        "member('l', LINK, '..'), member('l/out/dir', DIR, mode=0o777)",
        "member('l', LINK, '/etc'), member('l', DIR, mode=0o777, pax_headers={'SCHILY.xattr.user.x': 'y'})",
    ] {
        field.assert_refused(&format!("tar([{members}])"), "a.tar");
    }
}

#[test]
fn x04_the_last_entry_of_a_name_wins_and_is_looked_at_when_it_is_used() {
    let server = Server::start();
    let field = Field::new(&server);
    for members in [
        "member('d', DIR), member('d/f'), member('d', LINK, '../out'), member('d/file')",
        "member('f'), member('f/g')",
        "member('d/f'), member('d')",
        "member('d', DIR), member('e', LINK, 'd'), member('e/f')",
    ] {
        field.assert_refused(&format!("tar([{members}])"), "a.tar");
    }
    field.clear();
    let twice = "tar([member('f', data=b'one'), member('l', LINK, 'f'), member('f', data=b'two'), \
                 member('l', data=b'own'), member('F', data=b'other case')])";
    let _unpacked = field.unpack(twice, "a.tar").expect(200);
    assert_eq!(
        field.sandbox.exec("cd /root/x/in; cat f l F; test -L l || echo .").ok().stdout,
        "twoownother case.\n"
    );
    field.assert_contained("twice");
}

#[test]
fn x06_special_nodes_are_refused_and_special_bits_are_dropped() {
    let server = Server::start();
    let field = Field::new(&server);
    for kind in ["CHRTYPE", "BLKTYPE", "FIFOTYPE"] {
        field.assert_refused(&format!("tar([member('n', tarfile.{kind}, devmajor=1, devminor=3)])"), "a.tar");
        assert_eq!(field.inside(), "", "{kind}");
    }
    field.clear();
    let bits = "tar([member('s', mode=0o7777, uid=2**32-1, gid=2**32-1, mtime=-5, pax_headers={\
                'SCHILY.xattr.security.capability': 'x', 'SCHILY.xattr.trusted.overlay.redirect': '/etc', \
                'SCHILY.xattr.user.overlay.opaque': 'y', 'SCHILY.acl.access': 'user::rwx'}), \
                member('d', DIR, mode=0o7777)])";
    let _unpacked = field.unpack(bits, "a.tar").expect(200);
    let told = field.sandbox.python(
        "import os, json\nprint(json.dumps([[oct(os.stat(p).st_mode & 0o7777), os.stat(p).st_uid, os.listxattr(p)] \
         for p in ('/root/x/in/s', '/root/x/in/d')]))",
    );
    assert_eq!(told, serde_json::json!([["0o777", 0, []], ["0o777", 0, []]]));
    field.assert_contained("bits");
}
