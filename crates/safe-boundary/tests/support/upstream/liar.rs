//! A server that answers as it is told, once for each connection.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::certificates::Pair;

/// What it does with a connection.
#[derive(Clone)]
pub(crate) enum Does {
    /// Reads the first packet, answers with these bytes, and says no more.
    FallsSilent(Vec<u8>),
    /// Reads the first packet and answers with these bytes, then closes.
    Answers(Vec<u8>),
    /// The same, and goes on sending for ever.
    AnswersForEver(Vec<u8>),
    /// Says `N`, reads the startup packet, and answers it with these bytes.
    RefusesTls(Vec<u8>),
    /// Takes TLS with this certificate, then closes.
    Tls(Arc<ServerConfig>),
}

/// A listening liar.
pub(crate) struct Liar {
    pub(crate) port: u16,
    task: JoinHandle<()>,
}

impl Liar {
    pub(crate) async fn start(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, does.clone()));
            }
        });
        Self { port, task }
    }

    pub(crate) fn conninfo(&self, more: &str) -> String {
        format!("host=db.test hostaddr=127.0.0.1 port={} dbname=shop {more}", self.port)
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A server's side of TLS with this certificate.
pub(crate) fn tls(pair: &Pair) -> Does {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.certificate.der().clone()], key)
        .unwrap();
    Does::Tls(Arc::new(config))
}

/// Errors are the client's going away, which is what most tests are about.
async fn serve(mut stream: TcpStream, does: Does) {
    match does {
        Does::FallsSilent(bytes) => {
            read_packet(&mut stream).await;
            let _gone = stream.write_all(&bytes).await;
            let _gone = stream.read_to_end(&mut Vec::new()).await;
        }
        Does::Answers(bytes) => {
            read_packet(&mut stream).await;
            let _gone = stream.write_all(&bytes).await;
        }
        Does::AnswersForEver(bytes) => {
            read_packet(&mut stream).await;
            while stream.write_all(&bytes).await.is_ok() {}
        }
        Does::RefusesTls(bytes) => {
            read_packet(&mut stream).await;
            let _gone = stream.write_all(b"N").await;
            read_packet(&mut stream).await;
            let _gone = stream.write_all(&bytes).await;
        }
        Does::Tls(config) => {
            if read_packet(&mut stream).await.is_some() && stream.write_all(b"S").await.is_ok() {
                let _refused = TlsAcceptor::from(config).accept(stream).await;
            }
        }
    }
}

/// An untagged packet.
async fn read_packet(stream: &mut TcpStream) -> Option<()> {
    let length = stream.read_i32().await.ok()?;
    let mut rest = vec![0; usize::try_from(length).ok()?.checked_sub(4)?];
    stream.read_exact(&mut rest).await.ok()?;
    Some(())
}
