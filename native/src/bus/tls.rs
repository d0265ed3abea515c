//! TLS on the bus: both sides show a certificate that the cluster's authority has signed.
//!
//! A certificate says that who shows it is a node of this cluster, and not which: that the handshake within says. So
//! names in certificates are not looked at, and one authority must sign for one cluster and for nothing else.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, InvalidMessage,
    RootCertStore, ServerConfig, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::handshake::linger;
use super::kept::{Content, Kept, warn_if_open_to_others};
use super::refusal::{Broken, Refusal};
use super::stream::Stream;
use crate::server::Failure;

/// What TLS begins with: a record of a handshake. Who speaks the bus's protocol in the clear begins with its magic.
pub(super) const HANDSHAKE_RECORD: u8 = 0x16;

/// A name has to be given to rustls; it is neither sent nor looked at.
const NO_NAME: &str = "node.invalid";

/// A node's certificate, its key, and those who may sign nodes' certificates. Files that have changed count for
/// connections that are made from then on.
#[derive(Clone)]
pub struct Tls(Arc<Kept<Ends>>);

/// Both ends of a connection, as this node plays them.
struct Ends {
    dial: TlsConnector,
    accept: TlsAcceptor,
}

impl Tls {
    /// Reads PEM files: the certificate, with intermediate ones behind it if there are any, its key, and the
    /// certificates of the authorities that may sign nodes' certificates.
    ///
    /// # Errors
    ///
    /// A file cannot be read, does not hold what it should, or the key is not the certificate's.
    pub fn read(certificate: &Path, key: &Path, authority: &Path) -> Result<Self, Failure> {
        let files = [certificate, key, authority].map(PathBuf::from);
        let kept = Kept::read(files.into(), Ends::of)?;
        warn_if_open_to_others(key);
        Ok(Self(Arc::new(kept)))
    }

    /// Makes a connection private, as the one who has connected.
    pub(super) async fn dial(&self, stream: TcpStream) -> Result<Stream, Broken> {
        let name = ServerName::try_from(NO_NAME).map_err(io::Error::other)?;
        let stream = self.0.current().dial.connect(name, stream).await?;
        Ok(Stream::Private(Box::new(stream.into())))
    }

    /// Makes a connection private, as the one who was connected to. One in the clear stays as it is.
    pub(super) async fn accept(&self, stream: TcpStream) -> Result<Stream, Broken> {
        let mut first = [0];
        stream.peek(&mut first).await?;
        if first != [HANDSHAKE_RECORD] {
            return Ok(Stream::Plain(stream));
        }
        let accept = self.0.current().accept.accept(stream).into_fallible();
        match accept.await {
            Ok(stream) => Ok(Stream::Private(Box::new(stream.into()))),
            Err((error, mut stream)) => {
                // TLS has told the other side why.
                linger(&mut stream).await;
                Err(error.into())
            }
        }
    }

    #[cfg(test)]
    pub(super) fn forget_look(&self) {
        self.0.forget_look();
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}

impl Ends {
    fn of(contents: &[Content]) -> Result<Self, Failure> {
        let [certificate, key, authority] = contents else {
            unreachable!("three files are read")
        };
        let chain = certificates(certificate)?;
        let private = PrivateKeyDer::from_pem_slice(&key.bytes)
            .map_err(|error| unusable("key", key, &error))?;
        let mut roots = RootCertStore::empty();
        for root in certificates(authority)? {
            let added = roots.add(root);
            added.map_err(|error| unusable("authority's certificate", authority, &error))?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let of_pair = |error| unusable("certificate or its key", certificate, &error);

        let verifier = Arc::new(OfAuthority {
            roots: Arc::clone(&roots),
            provider: Arc::clone(&provider),
        });
        let mut dial = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(of_pair)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(chain.clone(), private.clone_key())
            .map_err(of_pair)?;
        dial.enable_sni = false;
        // Connections stand for long, and a certificate is looked at for each.
        dial.resumption = Resumption::disabled();

        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|error| unusable("authority's certificate", authority, &error))?;
        let mut accept = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(of_pair)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, private)
            .map_err(of_pair)?;
        accept.send_tls13_tickets = 0;
        Ok(Self {
            dial: Arc::new(dial).into(),
            accept: Arc::new(accept).into(),
        })
    }
}

fn certificates(content: &Content) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let found = CertificateDer::pem_slice_iter(&content.bytes).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| unusable("certificate", content, &error))?;
    if found.is_empty() {
        return Err(unusable("certificate", content, &"there is none in it"));
    }
    Ok(found)
}

/// No part of what is in the file is shown.
fn unusable(what: &str, content: &Content, error: &dyn fmt::Display) -> Failure {
    Failure::new(
        format!(
            "The {what} for the bus in {} cannot be used: {error}.",
            content.file.display()
        ),
        "Give PEM files: --bus-tls-cert this node's certificate, --bus-tls-key its key, without a passphrase, \
         --bus-tls-ca the authority that signed it",
    )
}

/// Whether the authority has signed what an acceptor shows. The counterpart for diallers is rustls's own.
#[derive(Debug)]
struct OfAuthority {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OfAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// What TLS has against the other side, or the other side against this one; `None` if it is not TLS that failed.
pub(super) fn judge(error: &io::Error) -> Option<Broken> {
    use rustls::Error as Tls;
    let error = error.get_ref()?.downcast_ref::<Tls>()?;
    let refused = |refusal, detail: &str| Broken::Refused(refusal, detail.to_owned());
    Some(match error {
        Tls::AlertReceived(alert) if is_about_certificates(*alert) => {
            Broken::RefusedBy(Some(Refusal::Certificate))
        }
        Tls::NoCertificatesPresented => refused(Refusal::Certificate, "it has shown none"),
        // Another authority may have the same name.
        Tls::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => refused(Refusal::Certificate, "another authority has signed it"),
        Tls::InvalidCertificate(why) => refused(Refusal::Certificate, &why.to_string()),
        Tls::InvalidMessage(InvalidMessage::InvalidContentType) => {
            refused(Refusal::Tls, "the other does not speak TLS")
        }
        Tls::DecryptError => Broken::refused(Refusal::Damaged),
        other => refused(Refusal::Malformed, &other.to_string()),
    })
}

fn is_about_certificates(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRequired
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
    )
}
