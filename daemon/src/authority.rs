//! The appliance's own certificate authority. Its key lives in the pool as a record, so that machines
//! enrolled once are known again after the whole state directory was lost.
//!
//! A machine is accepted for the one public key its record names. The certificate only carries that
//! key through TLS: its subject says nothing the record does not say, and what a machine asks for in
//! its request, beside the key, is not looked at.

use crate::clock::Clock;
use crate::record::AuthorityRecord;
use data_encoding::{BASE64, HEXLOWER};
use keelhold_disk::units::UnixNanos;
use keelhold_wire::{CaPin, SERVER_NAME};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};
use thiserror::Error;

const DAYS_OF_MACHINE: i64 = 90;

#[derive(Debug, Error)]
pub enum AuthorityError {
    #[error("a certificate could not be made")]
    Make(#[source] rcgen::Error),
    #[error("the record of the certificate authority cannot be read")]
    Record,
    #[error("the certificate request is not valid")]
    Request(#[source] rcgen::Error),
    #[error("the clock shows a time that no certificate can carry")]
    Clock,
}

#[derive(Debug)]
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    pin: CaPin,
}

/// A certificate given to a machine, with the fingerprint of its key.
#[derive(Debug, Clone)]
pub struct Issued {
    pub certificate: CertificateDer<'static>,
    pub key: String,
}

impl Authority {
    /// Makes a new authority and the record to keep it by.
    pub fn create() -> Result<(Self, AuthorityRecord), AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Make)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Keelhold appliance");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(AuthorityError::Make)?;
        let record = AuthorityRecord {
            certificate_der: BASE64.encode(certificate.der()),
            key_der: BASE64.encode(key.serialized_der()),
        };
        Ok((Self::open(&record)?, record))
    }

    pub fn open(record: &AuthorityRecord) -> Result<Self, AuthorityError> {
        let decode = |text: &str| BASE64.decode(text.as_bytes());
        let der = decode(&record.certificate_der).map_err(|_| AuthorityError::Record)?;
        let key = decode(&record.key_der).map_err(|_| AuthorityError::Record)?;
        let pin = CaPin::of_certificate(&der).map_err(|_| AuthorityError::Record)?;
        let certificate = CertificateDer::from(der);
        let key = KeyPair::try_from(key).map_err(|_| AuthorityError::Record)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(AuthorityError::Make)?;
        Ok(Self { certificate, issuer, pin })
    }

    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    #[must_use]
    pub fn pin(&self) -> CaPin {
        self.pin
    }

    /// The daemon's own certificate: made at every start, with a key nobody keeps.
    pub fn server(
        &self,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Make)?;
        let mut params =
            CertificateParams::new(vec![SERVER_NAME.to_owned()]).map_err(AuthorityError::Make)?;
        params.distinguished_name.push(DnType::CommonName, SERVER_NAME);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let certificate = params.signed_by(&key, &self.issuer).map_err(AuthorityError::Make)?;
        let key =
            PrivateKeyDer::try_from(key.serialize_der()).map_err(|_| AuthorityError::Record)?;
        Ok((certificate.der().clone(), key))
    }

    /// Signs the key of a machine's request (PKCS #10, its own signature checked).
    pub fn issue(
        &self,
        request: &[u8],
        machine: &str,
        clock: &dyn Clock,
    ) -> Result<Issued, AuthorityError> {
        let request =
            CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))
                .map_err(AuthorityError::Request)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, machine);
        let name = format!("spiffe://keelhold/agent/{machine}");
        let name = name.try_into().map_err(AuthorityError::Make)?;
        params.subject_alt_names = vec![SanType::URI(name)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // A day of grace before: clocks of two computers differ.
        let (year, month, day_of_month) = day(clock.now(), -1)?;
        params.not_before = date_time_ymd(year, month, day_of_month);
        let (year, month, day_of_month) = day(clock.now(), DAYS_OF_MACHINE)?;
        params.not_after = date_time_ymd(year, month, day_of_month);
        let certificate = params
            .signed_by(&request.public_key, &self.issuer)
            .map_err(AuthorityError::Make)?
            .der()
            .clone();
        let key = fingerprint(&certificate).ok_or(AuthorityError::Record)?;
        Ok(Issued { certificate, key })
    }
}

/// SHA-256 of the public key in a certificate, in hex.
#[must_use]
pub fn fingerprint(certificate: &CertificateDer<'_>) -> Option<String> {
    let pin = CaPin::of_certificate(certificate).ok()?;
    Some(HEXLOWER.encode(pin.as_bytes()))
}

/// Year, month and day of the day that is `days` from now.
fn day(now: UnixNanos, days: i64) -> Result<(i32, u8, u8), AuthorityError> {
    let at =
        jiff::Timestamp::from_nanosecond(i128::from(now.0)).map_err(|_| AuthorityError::Clock)?;
    let hours = jiff::SignedDuration::from_hours(24 * days);
    let at = at.checked_add(hours).map_err(|_| AuthorityError::Clock)?;
    let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
    let part = |value: i8| u8::try_from(value).map_err(|_| AuthorityError::Clock);
    Ok((i32::from(date.year()), part(date.month())?, part(date.day())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn request() -> (KeyPair, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "somebody else");
        let der = params.serialize_request(&key).unwrap().der().to_vec();
        (key, der)
    }

    #[test]
    fn an_authority_comes_back_from_its_record() {
        let (first, record) = Authority::create().unwrap();
        let again = Authority::open(&record).unwrap();
        assert_eq!(first.pin(), again.pin());
        assert_eq!(first.certificate(), again.certificate());
    }

    #[test]
    fn a_machine_gets_its_own_name_whatever_it_asks_for() {
        let (authority, _) = Authority::create().unwrap();
        let (_, der) = request();
        let issued = authority.issue(&der, "machine-id", &SystemClock).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&issued.certificate).unwrap();
        assert_eq!(parsed.subject().to_string(), "CN=machine-id");
        let names = parsed.subject_alternative_name().unwrap().unwrap().value;
        assert_eq!(names.general_names.len(), 1);
        assert_eq!(issued.key, fingerprint(&issued.certificate).unwrap());
    }

    #[test]
    fn a_damaged_request_is_refused() {
        let (authority, _) = Authority::create().unwrap();
        let (_, mut der) = request();
        let last = der.len() - 1;
        der[last] ^= 1;
        assert!(authority.issue(&der, "m", &SystemClock).is_err());
        assert!(authority.issue(b"", "m", &SystemClock).is_err());
    }
}
