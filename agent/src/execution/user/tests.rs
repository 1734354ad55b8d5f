use super::*;
use proptest::prelude::*;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
    4294967296:x:0:0::/:/bin/sh\n\
    agent:x:65533:65533::/:/bin/sh\n\
    huge:x:4294967296:0::/:/bin/sh\n\
    broken:x:0\n\
    dev:x:1000:1001:Dev:/home/dev:/bin/bash\n\
    odd:x:1002:1002::relative:/bin/sh\n";
const GROUP: &str =
    "root:x:0:\nwheel:x:10:dev,root\nvideo:x:44:dev\nagent:x:65533:dev\nbad:x:-1:dev\ndev:x:1001:\n";

fn chosen(asked: &str) -> Option<Account> {
    let (user, group) = parse(asked)?;
    choose(&user, group.as_ref(), PASSWD, GROUP)
}

#[test]
fn hostile_strings_are_nobody() {
    for asked in [
        "",
        ":",
        "0:",
        ":0",
        "0x0",
        "-1",
        "4294967296",
        "4294967295",
        "2147483648",
        "65536",
        "65533",
        "0:65533",
        " 0",
        "0 ",
        "+0",
        "00",
        "000000",
        "0:0:0",
        "root\n",
        "root:root:root",
        "١",
        "Root",
        "-root",
        "a b",
        "agent",
        "huge",
        "broken",
        "nobody-here",
        "root:nogroup",
        "root\0",
        "dev:agent",
        "dev:bad",
        &"a".repeat(33),
    ] {
        assert_eq!(chosen(asked), None, "{asked:?}");
    }
}

#[test]
fn names_and_numbers_are_found_and_a_number_is_never_a_name() {
    let dev = chosen("dev").unwrap();
    assert_eq!((dev.uid, dev.gid, dev.groups.as_slice()), (1000, 1001, [10, 44].as_slice()));
    assert_eq!((dev.name.as_str(), dev.home.as_str()), ("dev", "/home/dev"));
    assert_eq!(chosen("1000"), Some(dev));
    let alone = chosen("1000:44").unwrap();
    assert_eq!((alone.gid, alone.groups.len()), (44, 0), "who names a group wants no other");
    assert_eq!(chosen("dev:video").unwrap().gid, 44);
    assert_eq!(chosen("odd").unwrap().home, "/");
    let number = chosen("4242").unwrap();
    assert_eq!((number.uid, number.gid, number.home.as_str()), (4242, 4242, "/"));
    assert_eq!(chosen("0").unwrap().uid, 0);
}

#[test]
fn a_giant_group_file_gives_few_groups() {
    let text: String = (1..20_000).map(|id| format!("g{id}:x:{}:dev\n", id % 60_000)).collect();
    assert_eq!(files::groups_of(&text, "dev").len(), MAX_GROUPS);
}

proptest! {
    #[test]
    fn only_a_zero_or_a_name_of_the_file_is_root(asked in "[0-9a-z+: _\\-]{0,12}") {
        if let Some(account) = chosen(&asked) {
            let user = asked.split(':').next().unwrap();
            prop_assert_eq!(account.uid == 0, user == "0" || user == "root");
            prop_assert_ne!(account.uid, AGENT_ID);
            prop_assert_ne!(account.gid, AGENT_ID);
        }
    }

    #[test]
    fn no_file_makes_the_reading_panic(text in "(.{0,8}[:,\n]){0,60}") {
        prop_assert!(files::users(&text).all(|user| user.uid <= MAX_ID));
        prop_assert!(files::groups_of(&text, "a").len() <= MAX_GROUPS);
    }
}
