//! What a machine shows at the door: its certificate, or anything else.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};

/// A certificate, a key (which need not be the certificate's), and the appliance they are for.
#[derive(Debug, Clone)]
pub struct Papers {
    /// HOST:PORT
    pub address: String,
    authority: CertificateDer<'static>,
    shown: Option<(CertificateDer<'static>, Vec<u8>)>,
}

impl Papers {
    /// Those of the machine that was enrolled in this state directory.
    #[must_use]
    pub fn of_machine(state: &Path, address: &str) -> Self {
        let read = |name: &str| fs::read(state.join(name)).expect("the machine is enrolled");
        Self {
            address: address.to_owned(),
            authority: read("authority.der").into(),
            shown: Some((read("certificate.der").into(), read("key.der"))),
        }
    }

    #[must_use]
    pub fn without_certificate(&self) -> Self {
        Self { shown: None, ..self.clone() }
    }

    /// Another certificate for the same key.
    #[must_use]
    pub fn with_certificate(&self, certificate: CertificateDer<'static>) -> Self {
        let key = self.shown.as_ref().map(|(_, key)| key.clone());
        Self { shown: Some((certificate, key.unwrap_or_default())), ..self.clone() }
    }

    /// Another certificate and its key.
    #[must_use]
    pub fn with(&self, certificate: CertificateDer<'static>, key: &KeyPair) -> Self {
        Self { shown: Some((certificate, key.serialize_der())), ..self.clone() }
    }

    /// A copied certificate whose key the bearer has not.
    #[must_use]
    pub fn with_certificate_of(&self, other: &Self) -> Self {
        let certificate = other.shown.as_ref().expect("it has one").0.clone();
        self.with_certificate(certificate)
    }

    /// A certificate that says everything the right one says, signed by its own key.
    #[must_use]
    pub fn self_signed(&self, machine: &str) -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, machine);
        let certificate = params.self_signed(&key).expect("a certificate can be made");
        Self { shown: Some((certificate.der().clone(), key.serialize_der())), ..self.clone() }
    }

    /// A request for a certificate, for the machine's own key.
    #[must_use]
    pub fn request(&self) -> Vec<u8> {
        let (_, key) = self.shown.as_ref().expect("it has one");
        request(&KeyPair::try_from(key.as_slice()).expect("it is one"))
    }

    #[must_use]
    pub fn config(&self, protocols: &[&[u8]]) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone()).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3 is there")
            .with_root_certificates(roots);
        let mut config = match &self.shown {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.clone()));
                let key = provider.key_provider.load_private_key(key).expect("a key");
                // Built by hand: nobody looks whether key and certificate belong together.
                let shown = CertifiedKey::new(vec![certificate.clone()], key);
                builder.with_client_cert_resolver(Arc::new(Shows(Arc::new(shown))))
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }
}

/// A request for a certificate.
#[must_use]
pub fn request(key: &KeyPair) -> Vec<u8> {
    let request = CertificateParams::default().serialize_request(key);
    request.expect("a request can be made").der().to_vec()
}

#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
