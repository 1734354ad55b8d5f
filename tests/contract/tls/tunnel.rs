//! A port at which the clients of the harness, which speak no TLS, reach a server that does.

use std::io;
use std::sync::Arc;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The port; it is served until the test's process ends.
pub(super) struct Tunnel {
    address: String,
}

impl Tunnel {
    /// To a server whose certificate must be this one: with another, connections end before they carry anything.
    pub(super) fn to(server: &str, certificate: &str) -> Self {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
        roots.add(certificate).expect("a certificate");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions that are spoken")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (connector, server) = (TlsConnector::from(Arc::new(config)), server.to_owned());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        std::thread::spawn(move || {
            runtime.block_on(async {
                while let Ok((near, _)) = listener.accept().await {
                    let (connector, server) = (connector.clone(), server.clone());
                    tokio::spawn(async move {
                        if let Err(error) = carry(near, &server, &connector).await {
                            println!("the tunnel: {error}");
                        }
                    });
                }
            });
        });
        Self { address }
    }

    /// `127.0.0.1:PORT`.
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

async fn carry(mut near: TcpStream, server: &str, connector: &TlsConnector) -> io::Result<()> {
    let name = ServerName::try_from("127.0.0.1").map_err(io::Error::other)?;
    let mut far = connector.connect(name, TcpStream::connect(server).await?).await?;
    copy_bidirectional(&mut near, &mut far).await.map(drop)
}
