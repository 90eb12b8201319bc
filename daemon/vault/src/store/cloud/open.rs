//! From a URL and a credential to a store.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AwsCredential, Checksum};
use object_store::azure::{AzureAccessKey, AzureCredential, MicrosoftAzureBuilder};
use object_store::client::{HttpClient, HttpConnector};
use object_store::{ClientOptions, ObjectStore};
use thiserror::Error;

use super::CloudStore;
use super::credential::{Credential, CredentialError};
use super::requests::Requests;
use super::wire::{Patience, Service, Signer, Wire};
use crate::store::StoreError;

/// Why there is no store to ask. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpenError {
    #[error("a vault is at file:///DIR, s3://BUCKET/PREFIX or az://CONTAINER/PREFIX")]
    Url,
    #[error("the endpoint is http://HOST[:PORT] or https://HOST[:PORT], with a path for Azure")]
    Endpoint,
    #[error("this kind of vault needs a credential")]
    NoCredential,
    #[error("the credential is one for another kind of vault")]
    OtherCredential,
    #[error("the credential: {0}")]
    Credential(#[from] CredentialError),
    #[error("the account key is not what Azure gives out")]
    AccountKey,
    #[error("the connection cannot be set up: {0}")]
    Client(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Bucket or container, and what stands before every name: empty, or ending in `/`.
fn parts(rest: &str) -> Result<(&str, String), OpenError> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let is_letter = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(is_letter) {
        return Err(OpenError::Url);
    }
    let prefix = prefix.trim_end_matches('/');
    let is_part = |part: &str| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !part.is_empty() && part.bytes().all(is_letter)
    };
    match prefix {
        "" => Ok((bucket, String::new())),
        prefix if prefix.len() <= 200 && prefix.split('/').all(is_part) => {
            Ok((bucket, format!("{prefix}/")))
        }
        _ => Err(OpenError::Url),
    }
}

fn endpoint(text: &str) -> Result<&str, OpenError> {
    let text = text.trim_end_matches('/');
    let host = text.strip_prefix("http://").or(text.strip_prefix("https://"));
    let is_letter = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'[' | b']' | b'/')
    };
    match host {
        Some(host) if !host.is_empty() && host.bytes().all(is_letter) => Ok(text),
        _ => Err(OpenError::Endpoint),
    }
}

/// The store built by the crate, with signing and repeating left to us; where it is; how to send to it.
type Built = (Arc<dyn ObjectStore>, String, Service);

fn s3(
    bucket: &str,
    at: Option<&str>,
    credential: &Credential,
    connect: impl FnOnce(Signer) -> Service,
) -> Result<Built, OpenError> {
    let Credential::S3 { access_key_id, secret_access_key, session_token, region } = credential
    else {
        return Err(OpenError::OtherCredential);
    };
    let place = match at {
        Some(at) => format!("{at}/{bucket}"),
        // Names with dots are not covered by the provider's certificate.
        None if bucket.contains('.') => format!("https://s3.{region}.amazonaws.com/{bucket}"),
        None => format!("https://{bucket}.s3.{region}.amazonaws.com"),
    };
    let key = AwsCredential {
        key_id: access_key_id.clone(),
        secret_key: secret_access_key.to_string(),
        token: session_token.as_ref().map(|token| token.to_string()),
    };
    let service = connect(Signer::S3 { credential: key, region: region.clone() });
    let base = place.strip_suffix(&format!("/{bucket}"));
    let builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(region)
        .with_endpoint(base.unwrap_or(&place))
        .with_virtual_hosted_style_request(base.is_none())
        .with_allow_http(true)
        .with_skip_signature(true)
        .with_checksum_algorithm(Checksum::SHA256)
        .with_retry(once())
        .with_http_connector(Given(service.clone()));
    let store = builder.build().map_err(|error| OpenError::Client(error.to_string()))?;
    Ok((Arc::new(store), place, service))
}

fn azure(
    bucket: &str,
    at: Option<&str>,
    credential: &Credential,
    connect: impl FnOnce(Signer) -> Service,
) -> Result<Built, OpenError> {
    let Credential::Azure { account, account_key } = credential else {
        return Err(OpenError::OtherCredential);
    };
    let key = AzureAccessKey::try_new(account_key).map_err(|_| OpenError::AccountKey)?;
    let base = at.map_or_else(|| format!("https://{account}.blob.core.windows.net"), str::to_owned);
    let signer =
        Signer::Azure { credential: AzureCredential::AccessKey(key), account: account.clone() };
    let service = connect(signer);
    let builder = MicrosoftAzureBuilder::new()
        .with_account(account)
        .with_container_name(bucket)
        .with_endpoint(base.clone())
        .with_allow_http(true)
        .with_skip_signature(true)
        .with_retry(once())
        .with_http_connector(Given(service.clone()));
    let store = builder.build().map_err(|error| OpenError::Client(error.to_string()))?;
    Ok((Arc::new(store), format!("{base}/{}", bucket), service))
}

fn once() -> object_store::RetryConfig {
    object_store::RetryConfig { max_retries: 0, ..Default::default() }
}

/// Gives the crate the way of sending that is there already.
#[derive(Debug)]
struct Given(Service);

impl HttpConnector for Given {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

impl CloudStore {
    /// Opens `s3://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`, at the provider or at an endpoint: for S3
    /// what stands before the bucket, for Azure what stands before the container. Sends nothing.
    pub fn open(
        url: &str,
        at: Option<&str>,
        credential: &Credential,
        patience: Patience,
    ) -> Result<Self, OpenError> {
        let at = at.map(endpoint).transpose()?;
        let client = reqwest::Client::builder()
            .user_agent("keelhold")
            .http1_only()
            .connect_timeout(patience.connect)
            .build()
            .map_err(|error| OpenError::Client(error.to_string()))?;
        let (sent, pace) = Default::default();
        let connect = |signer| Service(Arc::new(Wire { client, signer, patience, sent, pace }));
        let (scheme, rest) = url.split_once("://").ok_or(OpenError::Url)?;
        let (bucket, prefix) = parts(rest)?;
        let (objects, place, service) = match scheme {
            "s3" => s3(bucket, at, credential, connect)?,
            "az" => azure(bucket, at, credential, connect)?,
            _ => return Err(OpenError::Url),
        };
        let requests = Requests { wire: service.0, place };
        Ok(Self::new(objects, requests, prefix))
    }
}
