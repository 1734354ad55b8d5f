//! The operator of the tests: a directory with a configuration and a certificate.

use bulkhead_gateway::{Changeable, Quota, Registration, Tls};
use bulkhead_protocol::runtime::{OperatorFile, RefusalKind, Reply};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::Value;
use std::path::{Path, PathBuf};

const CONFIGURATION: &str = "configuration";
const CERTIFICATE: &str = "tls-certificate";
const KEY: &str = "tls-key";

/// Understands the configurations of the tests.
#[derive(Debug)]
pub(crate) struct Operator;

impl bulkhead_gateway::Operator for Operator {
    fn has_file(&self) -> bool {
        true
    }

    fn reread(&self, text: Option<&str>) -> Result<Changeable, String> {
        understand(text.unwrap())
    }

    fn taken_over(&self) {}
}

/// JSON with `pool`, `register`, `streams` and `tls`; what is not there is off.
pub(crate) fn understand(text: &str) -> Result<Changeable, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("{error}\nand something else"))?;
    let on = |name: &str| value[name] == Value::Bool(true);
    Ok(Changeable {
        pool: value["pool"].as_u64().unwrap_or(0).try_into().unwrap(),
        registration: if on("register") { Registration::On } else { Registration::Off },
        quota: Quota { streams: value["streams"].as_u64().or(Quota::USUAL.streams), ..Quota::USUAL },
        tls: if on("tls") { Tls::Files } else { Tls::Off },
    })
}

/// The operator's directory.
#[derive(Debug, Clone)]
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        Self(dir.to_owned())
    }

    /// What the runtime reads for the gateway.
    pub(crate) fn read(&self, file: OperatorFile) -> Reply {
        let name = match file {
            OperatorFile::Configuration => CONFIGURATION,
            OperatorFile::TlsCertificate => CERTIFICATE,
            OperatorFile::TlsKey => KEY,
        };
        match std::fs::read_to_string(self.0.join(name)) {
            Ok(text) => Reply::File { text },
            Err(error) => Reply::Refused { kind: RefusalKind::Failed, detail: format!("{name}: {error}") },
        }
    }

    pub(crate) fn configuration(&self) -> String {
        std::fs::read_to_string(self.0.join(CONFIGURATION)).unwrap()
    }

    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(self.0.join(CONFIGURATION), text).unwrap();
    }

    /// Makes a certificate for `127.0.0.1` that ends with this year, and gives it.
    pub(crate) fn certify(&self, until: i32) -> String {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        std::fs::write(self.0.join(CERTIFICATE), &certificate).unwrap();
        std::fs::write(self.0.join(KEY), key.serialize_pem()).unwrap();
        certificate
    }
}
