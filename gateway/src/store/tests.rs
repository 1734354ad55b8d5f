//! The store against a file that is opened twice.

use super::*;
use crate::sandbox::{AutoSleep, Facts, Port, PortProtocol, Settings};
use bulkhead_protocol::{Limits, SandboxId};
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
    let owner = Owner { org: "o1".to_owned(), org_name: "default".to_owned(), user: "u1".to_owned() };
    store.create_owner(owner.clone(), None).await.unwrap();
    let again = Owner { org: "o2".to_owned(), ..owner.clone() };
    assert!(matches!(store.create_owner(again, None).await, Err(StoreError::Exists)));
    store.insert_sandbox(row('a')).await.unwrap();
    store.insert_sandbox(row('b')).await.unwrap();
    store.set_status(row('a').facts.id, Status::Running, 2).await.unwrap();
    store.set_status(row('a').facts.id, Status::Killed, 0).await.unwrap();
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
    assert_eq!(rows, vec![Row { status: Status::Killed, launch: 2, ..row('a') }]);
}

#[tokio::test]
async fn a_file_of_a_newer_program_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bulkhead.db");
    drop(Store::open(&path).unwrap());
    let db = Connection::open(&path).unwrap();
    db.execute("INSERT INTO schema_version (version) VALUES (99)", ()).unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::Newer { found: 99, .. })));
}
