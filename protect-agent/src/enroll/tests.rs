//! First contact over real TLS, on a pipe in memory.

use super::*;
use keelhold_wire::{ALPN_ENROLL, Enrolled, SERVER_NAME};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

struct Appliance {
    ca: CertificateDer<'static>,
    config: Arc<ServerConfig>,
}

impl Appliance {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let ca = params.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::from_ca_cert_der(&ca, key).unwrap();
        let own = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![SERVER_NAME.to_owned()]).unwrap();
        let certificate = params.signed_by(&own, &issuer).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(own.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate, ca.clone()], key)
            .unwrap();
        config.alpn_protocols = vec![ALPN_ENROLL.to_vec()];
        Self { ca, config: Arc::new(config) }
    }

    /// One newcomer, asking with the pin of `token`; `answer` replaces what an appliance would say.
    async fn meet(
        &self,
        token: &Token,
        answer: Option<ToNewcomer>,
    ) -> Result<Identity, EnrollError> {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let acceptor = TlsAcceptor::from(self.config.clone());
        let ca = self.ca.to_vec();
        let serving = tokio::spawn(async move {
            // A newcomer that distrusts this server ends the handshake.
            let Ok(stream) = acceptor.accept(theirs).await else { return None };
            let (reader, writer) = tokio::io::split(stream);
            let mut receiver = Receiver::with_limit(reader, ENROLL_BODY_LEN_MAX);
            let asked = receiver.receive::<FromNewcomer>().await.ok().flatten()?;
            let enrolled = Enrolled { certificate: vec![1], ca, machine_name: "box".to_owned() };
            let mut sender = Sender::new(writer);
            sender.send(&answer.unwrap_or(ToNewcomer::Enrolled(enrolled))).await.unwrap();
            sender.close().await.unwrap();
            Some(asked)
        });
        let server: ServerAddress = "keelhold://nas:1".parse().unwrap();
        let result = async {
            let stream = tls::connect(tls::newcomer_config(token.pin)?, ours).await?;
            converse(stream, server, token).await
        };
        let result = result.await;
        if let Some(FromNewcomer::Enroll(asked)) = serving.await.unwrap() {
            assert_eq!(asked.secret, token.secret);
            let request =
                rcgen::CertificateSigningRequestParams::from_der(&asked.request.as_slice().into());
            assert!(request.is_ok());
        }
        result
    }

    fn token(&self) -> Token {
        Token { secret: [3; 16], pin: CaPin::of_certificate(&self.ca).unwrap() }
    }
}

#[tokio::test]
async fn the_pinned_server_is_believed_and_its_answer_kept() {
    let appliance = Appliance::new();
    let identity = appliance.meet(&appliance.token(), None).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    assert!(matches!(Identity::load(&state), Err(IdentityError::NotEnrolled)));
    identity.save(&state).unwrap();
    let again = Identity::load(&state).unwrap();
    assert_eq!(again.machine_name, "box");
    assert_eq!(again.authority, appliance.ca);
    assert_eq!(again.key(), identity.key());
}

/// The secret is shown to nobody whose authority is not the pinned one.
#[tokio::test]
async fn another_server_never_sees_the_secret() {
    let (appliance, other) = (Appliance::new(), Appliance::new());
    let error = other.meet(&appliance.token(), None).await.unwrap_err();
    assert_eq!(Failure::from(error).code, Code::WrongServer.number());
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_another_authority_is_not_taken() {
    let appliance = Appliance::new();
    let refusal = Refusal::new(304, "the token has expired", "ask for another");
    let refused = appliance.meet(&appliance.token(), Some(ToNewcomer::Refuse(refusal))).await;
    assert_eq!(Failure::from(refused.unwrap_err()).label(), "KH-E0304");
    let ca = Appliance::new().ca.to_vec();
    let enrolled = Enrolled { certificate: vec![1], ca, machine_name: "box".to_owned() };
    let foisted = appliance.meet(&appliance.token(), Some(ToNewcomer::Enrolled(enrolled))).await;
    assert!(matches!(foisted, Err(EnrollError::OtherAuthority)));
}
