//! The store against a file that is opened twice.

use super::*;
use crate::sandbox::{AutoSleep, Facts, MadeOf, Port, PortProtocol, Settings};
use bulkhead_protocol::{Limits, SandboxId};
use rusqlite::params;
use std::collections::BTreeMap;

fn row(id: char) -> Row {
    Row {
        facts: Facts {
            id: SandboxId::parse(&id.to_string().repeat(30)).unwrap(),
            org: "o1".to_owned(),
            created_by: "u1".to_owned(),
            created_us: 5,
            name: "box".to_owned(),
            image: "code:latest".to_owned(),
            settings: Settings {
                made_of: MadeOf::default(),
                limits: Limits {
                    memory_bytes: 1 << 30,
                    cpu_millis: 1000,
                    pids: 512,
                    open_files: 4096,
                    disk_bytes: 1 << 30,
                },
                env: BTreeMap::from([("A".to_owned(), "b\n".to_owned())]),
                labels: BTreeMap::new(),
                ports: vec![Port { protocol: PortProtocol::Tcp, number: 80 }],
                region: Some("x".to_owned()),
                auto_sleep: AutoSleep::On,
                idle_timeout_s: Some(5),
                ttl_s: None,
                expires: None,
            },
        },
        status: Status::Creating,
        launch: 0,
    }
}

#[tokio::test]
async fn everything_is_there_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bulkhead.db");
    let store = Store::open(&path).unwrap();
    assert!(store.is_empty().await.unwrap());
    let owner = Owner::new("o1", "default", "u1");
    store.create_owner(owner.clone(), None).await.unwrap();
    let again = Owner { org: "o2".to_owned(), ..owner.clone() };
    assert!(matches!(store.create_owner(again, None).await, Err(StoreError::Exists)));
    for id in ['a', 'b'] {
        assert_eq!(store.put_sandbox(row(id), None).await.unwrap(), Claimed::Made);
        assert!(matches!(store.put_sandbox(row(id), None).await, Err(StoreError::Exists)));
    }
    store.set_status(row('a').facts.id, Status::Running, 2).await.unwrap();
    store.set_status(row('a').facts.id, Status::Killed, 1).await.unwrap();
    store.set_status(row('b').facts.id, Status::Killed, 7).await.unwrap();
    store.set_deleting(row('b').facts.id).await.unwrap();
    store.set_status(row('b').facts.id, Status::Running, 8).await.unwrap();
    let statuses: Vec<_> = store.sandboxes().await.unwrap().iter().map(|row| row.status).collect();
    assert_eq!(
        statuses,
        [Status::Running, Status::Deleting],
        "an old launch and a deleted sandbox change nothing"
    );
    store.delete_sandbox(row('b').facts.id).await.unwrap();
    assert_eq!(store.setting("node", b"abcd".to_vec()).await.unwrap(), b"abcd");
    drop(store);

    let store = Store::open(&path).unwrap();
    store.check().await.unwrap();
    assert_eq!(store.owner("default".to_owned()).await.unwrap(), owner);
    assert!(store.is_member("o1".to_owned(), "u1".to_owned()).await.unwrap());
    assert!(!store.is_member("o2".to_owned(), "u1".to_owned()).await.unwrap());
    assert_eq!(store.setting("node", b"efgh".to_vec()).await.unwrap(), b"abcd");
    let rows = store.sandboxes().await.unwrap();
    assert_eq!(rows, vec![Row { status: Status::Running, launch: 2, ..row('a') }]);
}

#[tokio::test]
async fn a_file_of_a_newer_program_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bulkhead.db");
    drop(Store::open(&path).unwrap());
    // The store's thread lets go of the file when it is done; this waits for it.
    let db = Connection::open(&path).unwrap();
    db.execute("INSERT INTO schema_version (version) VALUES (99)", ()).unwrap();
    drop(db);
    assert!(matches!(Store::open(&path), Err(StoreError::Newer { found: 99, .. })));
}

/// Through its own connection: nobody else may open the file.
async fn sql(store: &Store, text: String) {
    store.run(move |db| db.execute_batch(&text).doing("do what no gateway does")).await.unwrap();
}

async fn store(dir: &tempfile::TempDir) -> Store {
    let store = Store::open(&dir.path().join("bulkhead.db")).unwrap();
    for n in 1..=2 {
        let owner = Owner::new(format!("o{n}"), format!("org{n}"), format!("u{n}"));
        store.create_owner(owner, None).await.unwrap();
    }
    store
}

#[tokio::test]
async fn a_key_makes_one_sandbox_in_its_organisation_and_outlives_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let claim = |digest: &str| Some(Claim { key: "k".to_owned(), digest: digest.to_owned() });
    let known = |id: char| Claimed::Known { digest: "d".to_owned(), sandbox: row(id).facts.id.to_string() };
    assert_eq!(store.put_sandbox(row('a'), claim("d")).await.unwrap(), Claimed::Made);
    assert_eq!(store.put_sandbox(row('b'), claim("e")).await.unwrap(), known('a'));
    assert_eq!(store.sandboxes().await.unwrap().len(), 1, "nothing was written beside a key that is taken");
    let mut other = row('c');
    other.facts.org = "o2".to_owned();
    assert_eq!(store.put_sandbox(other, claim("d")).await.unwrap(), Claimed::Made);
    store.delete_sandbox(row('a').facts.id).await.unwrap();
    let found = store.claimed("o1".to_owned(), "k".to_owned()).await.unwrap();
    assert_eq!(found, Some(known('a')));
    store.forget_claims().await.unwrap();
    assert_eq!(
        store.claimed("o1".to_owned(), "k".to_owned()).await.unwrap(),
        Some(known('a')),
        "a day is long"
    );
}

#[tokio::test]
async fn of_too_many_keys_the_oldest_go_but_none_whose_create_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let claim = |key: &str| Some(Claim { key: key.to_owned(), digest: "d".to_owned() });
    store.put_sandbox(row('a'), claim("going on")).await.unwrap();
    // After the one above, and before the ones below.
    let many = format!(
        "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < {})
         INSERT INTO create_keys SELECT orgs.id, 'k' || n, 'd', 'gone', (SELECT max(created_us) FROM create_keys)
         + 1 + n FROM n, orgs",
        limits::CREATE_KEYS + 50
    );
    sql(&store, many).await;
    let mut last = row('b');
    last.facts.org = "o2".to_owned();
    // The next look of the first organisation is a hundred keys away, the one of the second is due.
    store.put_sandbox(last, claim("new")).await.unwrap();
    let count = async |org: &'static str| {
        let counted = store.run(move |db| {
            db.query_row("SELECT count(*) FROM create_keys WHERE org = ?1", params![org], |row| {
                row.get::<_, i64>(0)
            })
            .doing("count")
        });
        usize::try_from(counted.await.unwrap()).unwrap()
    };
    assert_eq!((count("o1").await, count("o2").await), (limits::CREATE_KEYS + 52, limits::CREATE_KEYS));
    for n in 0..limits::TRIM {
        let mut row = row('c');
        let letter = |n: usize| char::from(b'a' + u8::try_from(n).unwrap());
        let id = format!("{}{}{}", letter(n / 26), letter(n % 26), "z".repeat(28));
        row.facts.id = SandboxId::parse(&id).unwrap();
        store.put_sandbox(row, claim(&format!("later {n}"))).await.unwrap();
    }
    assert_eq!(count("o1").await, limits::CREATE_KEYS + 1, "the oldest of all goes on");
    let known = |key: &str| store.claimed("o1".to_owned(), key.to_owned());
    assert!(known("going on").await.unwrap().is_some() && known("k100").await.unwrap().is_none());
    assert!(known("later 0").await.unwrap().is_some() && known("k10000").await.unwrap().is_some());
}

#[tokio::test]
async fn a_failed_create_frees_its_key_and_marks_its_row_or_does_neither() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let claim = Claim { key: "k".to_owned(), digest: "d".to_owned() };
    store.put_sandbox(row('a'), Some(claim)).await.unwrap();
    let broken = "CREATE TRIGGER broken BEFORE UPDATE ON sandboxes BEGIN SELECT raise(ABORT, 'no'); END;";
    sql(&store, broken.to_owned()).await;
    store.withdraw(row('a').facts.id).await.unwrap_err();
    assert!(store.claimed("o1".to_owned(), "k".to_owned()).await.unwrap().is_some());
    sql(&store, "DROP TRIGGER broken".to_owned()).await;
    store.withdraw(row('a').facts.id).await.unwrap();
    assert_eq!(store.claimed("o1".to_owned(), "k".to_owned()).await.unwrap(), None);
    // Nothing is written over that.
    store.set_status(row('a').facts.id, Status::Running, 9).await.unwrap();
    assert_eq!(
        store.sandboxes().await.unwrap(),
        [Row { status: Status::Deleting, launch: NEVER, ..row('a') }]
    );
}

#[tokio::test]
async fn one_that_was_made_ahead_gets_an_owner_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let id = row('a').facts.id;
    store.insert_spare(id.clone(), "code:latest".to_owned()).await.unwrap();
    assert_eq!(store.spares().await.unwrap(), [id]);
    assert_eq!(store.sandboxes().await.unwrap(), [], "it is nobody's");
    let mine = Row { status: Status::Running, launch: 1, ..row('a') };
    assert_eq!(store.put_sandbox(mine.clone(), None).await.unwrap(), Claimed::Made);
    assert_eq!(
        (store.spares().await.unwrap(), store.sandboxes().await.unwrap()),
        (vec![], vec![mine.clone()])
    );
    assert!(matches!(store.put_sandbox(mine, None).await, Err(StoreError::Exists)));
}

#[tokio::test]
async fn a_torn_row_is_put_aside_and_stops_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    for id in ['a', 'b', 'c'] {
        store.put_sandbox(row(id), None).await.unwrap();
    }
    let tear = async |id: char, change: &str| {
        sql(&store, format!("UPDATE sandboxes SET {change} WHERE id = '{}'", row(id).facts.id)).await;
    };
    tear('a', "settings = '{'").await;
    tear('b', "id = 'short'").await;
    store.insert_spare(row('d').facts.id, "code:latest".to_owned()).await.unwrap();
    tear('d', "id = 'torn'").await;
    assert_eq!(store.spares().await.unwrap(), []);
    let left: Vec<_> = store.sandboxes().await.unwrap();
    assert_eq!(left, [row('c')]);
    let aside = store.run(|db| {
        let mut rows = db.prepare("SELECT id, content FROM quarantine ORDER BY id").doing("look")?;
        let rows = rows.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).doing("look")?;
        rows.collect::<rusqlite::Result<Vec<(String, String)>>>().doing("look")
    });
    let aside = aside.await.unwrap();
    assert_eq!(aside.len(), 3);
    assert!(aside[0].0.starts_with("aaa") && aside[0].1.contains(r#""settings":"{""#), "{aside:?}");
}

#[test]
fn a_full_disk_is_told_from_other_failures() {
    let full = |code| StoreError::Sql {
        doing: "write",
        source: rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None),
    };
    assert!(full(rusqlite::ffi::SQLITE_FULL).is_no_room());
    assert!(!full(rusqlite::ffi::SQLITE_IOERR).is_no_room() && !StoreError::Gone.is_no_room());
}
