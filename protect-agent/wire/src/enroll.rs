//! First contact: a token for a certificate. The only messages a peer without a certificate may send.

use crate::field::fields;
use crate::limits::{CERTIFICATE_LEN_MAX, NAME_LEN_MAX};
use crate::token::SECRET_LEN;

#[derive(Clone, PartialEq, Eq)]
pub struct Enroll {
    /// The secret of the token; the server knows only its hash.
    pub secret: [u8; SECRET_LEN],
    /// PKCS #10 in DER. The key was made on the machine and stays there.
    pub request: Vec<u8>,
    pub hostname: String,
    pub agent_version: String,
}

fields!(Enroll {
    secret,
    request: bytes(CERTIFICATE_LEN_MAX),
    hostname: text(NAME_LEN_MAX),
    agent_version: text(NAME_LEN_MAX),
});

impl std::fmt::Debug for Enroll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enroll").field("hostname", &self.hostname).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// The machine's certificate, X.509 in DER.
    pub certificate: Vec<u8>,
    /// The certificate of the appliance's CA, X.509 in DER: what the agent trusts from now on.
    pub ca: Vec<u8>,
    pub machine_name: String,
}

fields!(Enrolled {
    certificate: bytes(CERTIFICATE_LEN_MAX),
    ca: bytes(CERTIFICATE_LEN_MAX),
    machine_name: text(NAME_LEN_MAX),
});
