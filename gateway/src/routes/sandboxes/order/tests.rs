//! Every field of a create, good and bad.

use super::super::parse;
use super::*;
use crate::input::Fields;

fn order(members: &str) -> Result<Order, String> {
    let body = format!(r#"{{"name":"box",{members}}}"#).replace(",}", "}");
    Fields::of_body(body.as_bytes()).and_then(parse::create).and_then(check).map_err(|error| {
        assert_eq!(error.status, StatusCode::BAD_REQUEST);
        error.message.into_owned()
    })
}

#[test]
fn what_is_not_asked_for_has_its_default() {
    let order = order("").unwrap();
    let (memory_bytes, disk_bytes) = (1024 * MIB, 5120 * MIB);
    let limits = Limits { memory_bytes, cpu_millis: 1000, pids: 512, open_files: 4096, disk_bytes };
    assert_eq!(order.settings.limits, limits);
    assert_eq!((order.image.as_str(), order.answer), ("code:latest", Answer::WhenReady));
    assert_eq!(order.settings.auto_sleep, AutoSleep::Off);
}

#[test]
fn limits_go_below_and_beyond_cpu_and_mem() {
    let members =
        r#""cpu":2,"mem":2048,"limits":{"memoryMiB":64,"cpus":0.5,"pids":32,"openFiles":128,"diskMiB":64}"#;
    let limits = order(members).unwrap().settings.limits;
    let (memory_bytes, disk_bytes) = (64 * MIB, 64 * MIB);
    assert_eq!(limits, Limits { memory_bytes, cpu_millis: 500, pids: 32, open_files: 128, disk_bytes });
    let limits = order(r#""limits":{"cpus":16,"memoryMiB":65536}"#).unwrap().settings.limits;
    assert_eq!((limits.cpu_millis, limits.memory_bytes), (16_000, 65_536 * MIB));
}

#[test]
fn both_forms_of_ports_mean_the_same() {
    let tcp = |number| Port { protocol: PortProtocol::Tcp, number };
    let http = |number| Port { protocol: PortProtocol::Http, number };
    assert_eq!(order(r#""publishPorts":[80,81]"#).unwrap().settings.ports, [http(80), http(81)]);
    let both = r#""ports":[{"protocol":"tcp","port":80},{"port":81}],"publishPorts":[81,80]"#;
    assert_eq!(order(both).unwrap().settings.ports, [tcp(80), http(81)]);
}

#[test]
fn names_and_images_keep_their_shape() {
    let long = "a".repeat(254);
    for name in ["", "A", "-a", "a-", "a..b", ".a", "a_b", "a b", "é", "a\0", &long, "../x", "a\n"] {
        assert!(check_name(name).is_err(), "{name}");
    }
    for name in ["a", "sdbx-1700000000000", "a.b-c.9", &"a".repeat(253)] {
        assert!(check_name(name).is_ok(), "{name}");
    }
    let refused = order(r#""image":"../etc""#).unwrap_err();
    assert!(refused.starts_with("image: must be name or name:tag"), "{refused}");
}

#[test]
fn each_bad_field_is_named() {
    let cases = [
        (r#""image":5"#, "image: must be a string"),
        (r#""cpu":9"#, "cpu: must be an integer from 1 to 8"),
        (r#""cpu":"1""#, "cpu: must be an integer from 1 to 8"),
        (r#""cpu":1.5"#, "cpu: must be an integer from 1 to 8"),
        (r#""mem":1023"#, "mem: must be an integer from 1024 to 16384"),
        (r#""sync":"no""#, "sync: must be true or false"),
        (r#""autoSleep":1"#, "autoSleep: must be true or false"),
        (r#""region":[]"#, "region: must be a string"),
        (r#""orgId":5"#, "orgId: must be a string"),
        (r#""userId":5"#, "userId: must be a string"),
        (r#""envVars":{"A=":"1"}"#, "envVars: a name must not contain = or a NUL character"),
        (r#""labels":{"a":1}"#, "labels: every value must be a string"),
        (r#""publishPorts":[0]"#, "publishPorts: every port must be an integer from 1 to 65535"),
        (r#""publishPorts":[1,2,3,4,5]"#, "publishPorts: has more than 4 ports"),
        (r#""publishPorts":[1,1]"#, "publishPorts: a port appears twice"),
        (r#""ports":[80]"#, "ports: every item must be an object"),
        (r#""ports":[{"port":1,"protocol":"udp"}]"#, "ports: a protocol must be http or tcp"),
        (r#""ports":[{"protocol":"tcp"}]"#, "ports: every port must be an integer from 1 to 65535"),
        (r#""ports":[{"port":1}],"publishPorts":[2]"#, "ports: disagrees with publishPorts"),
        (r#""limits":[]"#, "limits: must be an object"),
        (r#""limits":{"memory":1}"#, "limits.memory: is not a limit"),
        (r#""limits":{"memoryMiB":15}"#, "limits.memoryMiB: must be an integer from 16 to 1048576"),
        (r#""limits":{"cpus":0.04}"#, "limits.cpus: must be a number from 0.05 to 1024"),
        (r#""limits":{"pids":7}"#, "limits.pids: must be an integer from 8 to 16384"),
        (r#""limits":{"openFiles":"x"}"#, "limits.openFiles: must be an integer from 32 to 16384"),
    ];
    for (members, message) in cases {
        assert_eq!(order(members).map(drop), Err(message.to_owned()), "{members}");
    }
    let region = format!(r#""region":"{}""#, "x".repeat(65));
    assert!(order(&region).unwrap_err().starts_with("region: "));
}
