//! Certificates, good and bad.

use super::*;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};

/// Of the year 2030.
const NOW: i64 = 1_900_000_000;

struct Pair {
    certificate: String,
    key: String,
}

fn pair(from: i32, to: i32) -> Pair {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    let key = KeyPair::generate().unwrap();
    Pair { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

fn told(chain: &str, key: &str) -> String {
    Certificate::at(chain, key, NOW).map(drop).unwrap_err().to_string()
}

#[test]
fn a_certificate_with_its_key_is_good_and_its_end_is_known() {
    let Pair { certificate, key } = pair(2020, 2040);
    let good = Certificate::at(&certificate, &key, NOW).unwrap();
    assert_eq!(good.ends, date_time_ymd(2040, 1, 1).unix_timestamp());
}

#[test]
fn what_is_wrong_is_told_with_its_setting() {
    let (good, other) = (pair(2020, 2040), pair(2020, 2040));
    let (old, young) = (pair(2020, 2025), pair(2035, 2040));
    assert_eq!(told("", &good.key), "tls-certificate: holds no certificate (PEM)");
    assert_eq!(told(&good.certificate, ""), "tls-key: holds no private key (PEM)");
    assert_eq!(told(&good.certificate, &other.key), "tls-key: is not the key of tls-certificate");
    assert!(told(&old.certificate, &old.key).starts_with("tls-certificate: ended on Jan  1"));
    assert!(told(&young.certificate, &young.key).starts_with("tls-certificate: begins on Jan  1"));
    let broken = good.certificate.replacen("MII", "AAA", 1);
    assert!(told(&broken, &good.key).starts_with("tls-certificate: cannot be understood: "));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_given_up() {
    let Pair { certificate, key } = pair(2020, 2040);
    let good = Certificate::at(&certificate, &key, NOW).unwrap();
    let (near, _far) = tokio::io::duplex(64);
    let start = tokio::time::Instant::now();
    assert_eq!(good.greet(near).await.map(drop).unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed().as_secs(), limits::HANDSHAKE.as_secs());
}
