//! Halves of two releases, as they meet in the middle of an upgrade. An upgrade from a real older one is in `upgrade.rs`.

use bulkhead_protocol::runtime::{Call, RUNTIME_PROTOCOL, RefusalKind, Reply};
use bulkhead_tests::{RuntimeLink, Server};

#[test]
fn a_gateway_of_another_release_is_refused_with_both_versions_and_ours_is_served_on() {
    let server = Server::start();
    let mut link = RuntimeLink::to(&server);
    for other in [RUNTIME_PROTOCOL - 1, RUNTIME_PROTOCOL + 1] {
        let Reply::Refused { kind: RefusalKind::Invalid, detail } =
            link.call(Call::Hello { protocol: other })
        else {
            panic!("protocol {other} is spoken");
        };
        let both =
            format!("speaks protocol {RUNTIME_PROTOCOL}, the gateway {other}: both must be of one release");
        assert!(detail.ends_with(&both), "{detail}");
    }
    let sandbox = server.create();
    assert_eq!(sandbox.exec("echo served").stdout, "served\n");
    sandbox.delete();
}
