use std::os::unix::fs::PermissionsExt;

use http::{HeaderMap, StatusCode};

use super::pages::{azure, s3};
use super::refusal::refusal;
use super::*;

const S3: &str =
    "# for tests\naccess_key_id = AKIA1\n\nsecret_access_key=s3cr3t/+=\nregion = eu-1\n";
const AZURE: &str = "account = acc\naccount_key = c2VjcmV0\n";

#[test]
fn a_credential_is_read_and_never_shown() {
    for text in [S3, AZURE] {
        let shown = format!("{:?}", Credential::parse(text).unwrap());
        assert!(!shown.contains("s3cr3t") && !shown.contains("c2VjcmV0"), "{shown}");
    }
    let fault = |text| Credential::parse(text).unwrap_err();
    assert_eq!(fault(""), CredentialError::Missing { name: "access_key_id" });
    assert_eq!(fault("account = a"), CredentialError::Missing { name: "account_key" });
    assert_eq!(fault("region"), CredentialError::Line { line: 1 });
    assert_eq!(fault("\nregion = "), CredentialError::Line { line: 2 });
    assert_eq!(fault("region = a\nregion = b"), CredentialError::Name { line: 2 });
    assert_eq!(fault("password = a"), CredentialError::Name { line: 1 });
    assert_eq!(fault("region = a\nX"), CredentialError::Line { line: 2 });
    assert_eq!(fault("account = a\naccount_key = b\nregion = c"), CredentialError::Mixed);
}

#[test]
fn a_credential_others_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credential");
    std::fs::write(&path, S3).unwrap();
    for (mode, is_open) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let read = Credential::read(&path);
        assert_eq!(read == Err(CredentialError::Open { mode }), is_open, "{mode:o}: {read:?}");
        assert_eq!(read.is_ok(), !is_open);
    }
    assert_eq!(Credential::read(folder.path()), Err(CredentialError::NoFile));
    let missing = Credential::read(&folder.path().join("none"));
    let kind = std::io::ErrorKind::NotFound;
    assert_eq!(missing, Err(CredentialError::Unreadable { kind }));
    std::fs::write(&path, vec![b'#'; 20_000]).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(Credential::read(&path), Err(CredentialError::NoText));
}

#[test]
fn urls_that_are_none_are_refused() {
    let (aws, blob) = (Credential::parse(S3).unwrap(), Credential::parse(AZURE).unwrap());
    let open = |url: &str, at: Option<&str>, credential: &Credential| {
        CloudStore::open(url, at, credential, Patience::default()).map(|store| store.requests.place)
    };
    let placed = |url, at| open(url, at, &aws).unwrap();
    assert_eq!(placed("s3://bucket/a/b/", None), "https://bucket.s3.eu-1.amazonaws.com");
    assert_eq!(placed("s3://my.bucket", None), "https://s3.eu-1.amazonaws.com/my.bucket");
    assert_eq!(placed("s3://bucket", Some("http://[::1]:9/")), "http://[::1]:9/bucket");
    let azure = open("az://box/a", None, &blob).unwrap();
    assert_eq!(azure, "https://acc.blob.core.windows.net/box");
    for url in [
        "s3:/bucket",
        "s3://",
        "s3://b",
        "s3://Bucket",
        "s3://bucket/a//b",
        "s3://bucket/..",
        "s3://bucket/a b",
        "s3://bucket?x",
        "gs://bucket",
        "bucket",
    ] {
        assert_eq!(open(url, None, &aws), Err(OpenError::Url), "{url}");
    }
    for at in ["ftp://x", "http://", "x:1", "http://user@x", "http://x?y"] {
        assert_eq!(open("s3://bucket", Some(at), &aws), Err(OpenError::Endpoint), "{at}");
    }
    assert_eq!(open("s3://bucket", None, &blob), Err(OpenError::OtherCredential));
    assert_eq!(open("az://box", None, &aws), Err(OpenError::OtherCredential));
    let wrong = Credential::parse("account = a\naccount_key = !!").unwrap();
    assert_eq!(open("az://box", None, &wrong), Err(OpenError::AccountKey));
}

/// Every word of the providers we know means one thing.
#[test]
fn words_of_servers_are_understood() {
    let said = |status: u16, code: &str, skew| {
        let body = format!("<Error><Code>{code}</Code><Region>r-1</Region></Error>");
        let status = StatusCode::from_u16(status).unwrap();
        refusal(status, &HeaderMap::new(), body.as_bytes(), skew)
    };
    let fault = |status, code, skew| said(status, code, skew).fault;
    use StoreFault::{ClockSkew, Credentials, Full, NoBucket, NotFound, Refused, Unavailable};
    for code in ["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"] {
        assert_eq!(fault(403, code, Some(3)), Credentials);
    }
    // Azure has one word for both; the clocks say which.
    assert_eq!(fault(403, "AuthenticationFailed", Some(-2)), Credentials);
    assert_eq!(fault(403, "AuthenticationFailed", Some(-4000)), ClockSkew { ahead: -4000 });
    assert_eq!(fault(403, "RequestTimeTooSkewed", Some(901)), ClockSkew { ahead: 901 });
    assert_eq!(fault(404, "NoSuchBucket", None), NoBucket);
    assert_eq!(fault(404, "ContainerNotFound", None), NoBucket);
    assert_eq!(fault(404, "NoSuchKey", None), NotFound);
    assert_eq!(fault(404, "BlobNotFound", None), NotFound);
    assert_eq!(fault(403, "AccessDenied", None), Refused);
    assert_eq!(fault(403, "AuthorizationPermissionMismatch", None), Refused);
    assert_eq!(fault(409, "BlobImmutableDueToPolicy", None), Refused);
    assert_eq!(fault(507, "XMinioStorageFull", None), Full);
    assert_eq!(fault(403, "QuotaExceeded", None), Full);
    assert_eq!(fault(503, "SlowDown", None), Unavailable { status: 503 });
    assert_eq!(fault(409, "ConditionalRequestConflict", None), Unavailable { status: 409 });
    let region = StoreFault::Region { expected: "r-1".to_owned() };
    assert_eq!(fault(400, "AuthorizationHeaderMalformed", None), region);
    let other = StoreFault::Answer { status: 418, code: "Teapot".to_owned() };
    assert_eq!(fault(418, "Tea\u{1b}[2Jpot".replace("[2J", "").as_str(), None), other);
    assert!(said(412, "PreconditionFailed", None).is_taken());
    assert!(said(409, "BlobAlreadyExists", None).is_taken());
    assert!(!said(409, "LeaseIdMissing", None).is_taken());
    for (status, code) in [(403, "AccessDenied"), (400, "Bad"), (404, "NoSuchKey"), (501, "No")] {
        assert!(!said(status, code, None).is_passing(), "{status}");
    }
}

/// Pages as the providers write them: versions and markers mixed, Azure's oldest first.
#[test]
fn pages_of_versions_are_read() {
    let page = s3(b"<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>b</NextKeyMarker>\
        <NextVersionIdMarker>v1</NextVersionIdMarker>\
        <DeleteMarker><Key>a</Key><VersionId>v3</VersionId><IsLatest>true</IsLatest></DeleteMarker>\
        <Version><Key>a</Key><VersionId>v2</VersionId><IsLatest>false</IsLatest><Size>2</Size></Version>\
        <Version><Key>b</Key><VersionId>null</VersionId><IsLatest>true</IsLatest><Size>1</Size></Version>\
        <DeleteMarker><Key>a</Key><VersionId>v1</VersionId><IsLatest>false</IsLatest></DeleteMarker>\
        </ListVersionsResult>")
    .unwrap();
    assert_eq!(page.next, Some(Mark { key: "b".to_owned(), version: "v1".to_owned() }));
    let found = Found::of(page.rows.into_iter().filter(|row| row.key == "a").collect());
    assert_eq!(found.first.unwrap().version.as_deref(), Some("v2"));
    assert_eq!((found.newest, found.all.len()), (None, 3));
    let page = azure(
        b"<EnumerationResults><Blobs>\
        <Blob><Name>a</Name><VersionId>2026-01-01T00:00:00.1Z</VersionId><Properties>\
        <Content-Length>5</Content-Length></Properties></Blob>\
        <Blob><Name>a</Name><VersionId>2026-01-02T00:00:00.1Z</VersionId>\
        <IsCurrentVersion>true</IsCurrentVersion><Properties><Content-Length>7</Content-Length>\
        </Properties></Blob></Blobs><NextMarker>2!92</NextMarker></EnumerationResults>",
    )
    .unwrap();
    assert_eq!(page.next.unwrap().key, "2!92");
    let found = Found::of(page.rows);
    assert_eq!(found.first.unwrap().len, 5);
    assert_eq!(found.newest.as_deref(), Some("2026-01-02T00:00:00.1Z"));
    for garbage in ["", "<html><br>", "null", "<ListVersionsResult><Version></Version>"] {
        assert!(s3(garbage.as_bytes()).is_none(), "{garbage}");
    }
}
