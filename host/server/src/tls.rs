//! The certificate of the host, which can be replaced while the host runs.

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, InconsistentKeys, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use quipu_identity::Names;

/// The protocols that a client can choose in the handshake, the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why a certificate and a key can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file of the certificate has none.
    #[error("there is no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// The file of the certificate is malformed.
    #[error("the certificate is not PEM: {0}")]
    Certificate(pem::Error),
    /// The file of the key has none.
    #[error(
        "there is no private key in PEM, which begins with -----BEGIN PRIVATE KEY-----; a key with \
         a passphrase can't be read"
    )]
    NoKey,
    /// The file of the key is malformed.
    #[error("the private key is not PEM: {0}")]
    Key(pem::Error),
    /// The key is not that of the certificate.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
    /// The authorities of client certificates can't be used.
    #[error("the authorities of client certificates can't be used: {0}")]
    Authorities(String),
    /// The certificate or the key is of a form that is not supported.
    #[error("the certificate and its key can't be used: {0}")]
    Unusable(rustls::Error),
}

impl Error {
    /// Whether the error is about the file of the key, not about that of the certificate.
    pub fn is_about_key(&self) -> bool {
        matches!(self, Self::NoKey | Self::Key(_) | Self::Mismatch)
    }
}

/// A certificate with those of its authorities, and its private key.
#[derive(Clone)]
pub struct Identity {
    config: Arc<ServerConfig>,
    chain: Vec<CertificateDer<'static>>,
    clients: Option<Clients>,
}

/// Which client certificates are taken.
#[derive(Clone, PartialEq, Eq)]
pub struct Clients {
    authorities: Vec<CertificateDer<'static>>,
    are_required: bool,
}

impl Clients {
    /// Takes client certificates of these authorities, in PEM. A client needs one if they are required.
    ///
    /// # Errors
    /// When there is no certificate, or one is malformed.
    pub fn from_pem(authorities: &[u8], are_required: bool) -> Result<Self, Error> {
        let authorities =
            chain(authorities).map_err(|error| Error::Authorities(error.to_string()))?;
        let clients = Self {
            authorities,
            are_required,
        };
        clients.verifier()?;
        Ok(clients)
    }

    fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, Error> {
        let failed = |why: String| Error::Authorities(why);
        let mut roots = RootCertStore::empty();
        for authority in &self.authorities {
            let added = roots.add(authority.clone());
            added.map_err(|error| failed(error.to_string()))?;
        }
        let provider = Arc::new(ring::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = match self.are_required {
            true => builder,
            false => builder.allow_unauthenticated(),
        };
        builder.build().map_err(|error| failed(error.to_string()))
    }
}

impl Identity {
    /// Reads a chain of certificates, that of the host first, and the private key, both in PEM; and
    /// takes certificates of clients.
    ///
    /// # Errors
    /// When one of them is missing or malformed, or they do not belong to each other.
    pub fn from_pem(
        certificate: &[u8],
        key: &[u8],
        clients: Option<Clients>,
    ) -> Result<Self, Error> {
        let chain = chain(certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => Error::NoKey,
            error => Error::Key(error),
        })?;
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(Error::Unusable)?;
        let builder = match &clients {
            Some(clients) => builder.with_client_cert_verifier(clients.verifier()?),
            None => builder.with_no_client_auth(),
        };
        let mut config =
            builder
                .with_single_cert(chain.clone(), key)
                .map_err(|error| match error {
                    rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                        Error::Mismatch
                    }
                    error => Error::Unusable(error),
                })?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Self {
            config: Arc::new(config),
            chain,
            clients,
        })
    }
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let chain = CertificateDer::pem_slice_iter(pem);
    let chain: Vec<_> = chain
        .collect::<Result<_, _>>()
        .map_err(Error::Certificate)?;
    match chain.is_empty() {
        true => Err(Error::NoCertificate),
        false => Ok(chain),
    }
}

/// The names in the certificate of a client, if it has shown one.
pub(crate) fn names<S>(stream: &TlsStream<S>) -> Option<Names> {
    let (_, connection) = stream.get_ref();
    Names::read(connection.peer_certificates()?.first()?)
}

/// Without the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificates", &self.chain.len())
            .finish_non_exhaustive()
    }
}

/// TLS 1.2 and 1.3 with a certificate that can be replaced. Open connections keep the one that
/// they began with. When other clients are trusted, they end.
#[derive(Debug)]
pub struct Tls {
    in_force: RwLock<InForce>,
}

#[derive(Debug)]
struct InForce {
    identity: Identity,
    /// Cancelled when other clients are trusted.
    trust: CancellationToken,
}

/// A connection after its handshake.
pub(crate) struct Accepted<S> {
    pub stream: TlsStream<S>,
    /// Cancelled when other clients are trusted.
    pub trust: CancellationToken,
}

impl Tls {
    /// TLS with a certificate.
    pub fn new(identity: Identity) -> Self {
        Self {
            in_force: RwLock::new(InForce {
                identity,
                trust: CancellationToken::new(),
            }),
        }
    }

    fn in_force(&self) -> RwLockReadGuard<'_, InForce> {
        self.in_force.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses another certificate for new connections. Returns whether it differs from the last one.
    pub fn replace(&self, identity: Identity) -> bool {
        let in_force = self.in_force.write();
        let mut in_force = in_force.unwrap_or_else(PoisonError::into_inner);
        let current = &in_force.identity;
        let trusts_others = current.clients != identity.clients;
        let is_different = current.chain != identity.chain || trusts_others;
        if is_different {
            in_force.identity = identity;
        }
        if trusts_others {
            std::mem::take(&mut in_force.trust).cancel();
        }
        is_different
    }

    /// When the certificate expires, in seconds since 1970 UTC; none when it does not say.
    pub fn expires_s(&self) -> Option<u64> {
        Some(Names::read(self.in_force().identity.chain.first()?)?.expires_s())
    }

    /// Performs the handshake with a client.
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<Accepted<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (config, trust) = {
            let InForce { identity, trust } = &*self.in_force();
            (Arc::clone(&identity.config), trust.clone())
        };
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        Ok(Accepted { stream, trust })
    }
}
