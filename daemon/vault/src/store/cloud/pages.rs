//! Pages of listings with all versions, as both providers write them.

use quick_xml::de::from_reader;
use serde::Deserialize;

/// One version of an object, or what hides it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub key: String,
    /// `None` where the store keeps no versions.
    pub version: Option<String>,
    pub len: u64,
    pub is_marker: bool,
    /// Whether a reader who names no version is given this one.
    pub is_newest: bool,
}

/// Where a listing goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mark {
    pub key: String,
    pub version: String,
}

#[derive(Debug, Default)]
pub struct Page {
    pub rows: Vec<Row>,
    pub next: Option<Mark>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct S3Page {
    /// Always there: a page of something else is no empty listing.
    is_truncated: bool,
    #[serde(default)]
    next_key_marker: String,
    #[serde(default)]
    next_version_id_marker: String,
    #[serde(default)]
    next_continuation_token: String,
    /// Of a listing without versions.
    #[serde(default)]
    contents: Vec<S3Version>,
    #[serde(default, rename = "Version")]
    versions: Vec<S3Version>,
    #[serde(default, rename = "DeleteMarker")]
    markers: Vec<S3Version>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct S3Version {
    key: String,
    #[serde(default)]
    version_id: String,
    #[serde(default)]
    is_latest: bool,
    #[serde(default)]
    size: u64,
}

impl S3Version {
    fn row(self, is_marker: bool) -> Row {
        // What was stored before a bucket had versions is called so.
        let version = Some(self.version_id).filter(|id| !id.is_empty() && id != "null");
        Row { key: self.key, version, len: self.size, is_marker, is_newest: self.is_latest }
    }
}

/// Keys ascend; of one key the newest comes first, markers behind all others.
pub fn s3(body: &[u8]) -> Option<Page> {
    let page: S3Page = from_reader(body).ok()?;
    let mut rows: Vec<Row> = page.versions.into_iter().map(|version| version.row(false)).collect();
    rows.extend(page.contents.into_iter().map(|version| version.row(false)));
    rows.extend(page.markers.into_iter().map(|version| version.row(true)));
    // Stable: versions of a key keep their order.
    rows.sort_by(|left, right| left.key.cmp(&right.key));
    let mark = match page.next_continuation_token {
        token if !token.is_empty() => Mark { key: token, version: String::new() },
        _ => Mark { key: page.next_key_marker, version: page.next_version_id_marker },
    };
    Some(Page { rows, next: page.is_truncated.then_some(mark) })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AzurePage {
    /// Always there, as above.
    blobs: AzureBlobs,
    #[serde(default)]
    next_marker: String,
}

#[derive(Deserialize, Default)]
struct AzureBlobs {
    #[serde(default, rename = "Blob")]
    blobs: Vec<AzureBlob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AzureBlob {
    name: String,
    version_id: Option<String>,
    is_current_version: Option<bool>,
    properties: AzureProperties,
}

#[derive(Deserialize)]
struct AzureProperties {
    #[serde(default, rename = "Content-Length")]
    len: u64,
}

/// Keys ascend; of one key the newest comes first.
pub fn azure(body: &[u8]) -> Option<Page> {
    let page: AzurePage = from_reader(body).ok()?;
    let row = |blob: AzureBlob| Row {
        key: blob.name,
        is_newest: blob.is_current_version.unwrap_or(blob.version_id.is_none()),
        version: blob.version_id.filter(|id| !id.is_empty()),
        len: blob.properties.len,
        is_marker: false,
    };
    let mut rows: Vec<Row> = page.blobs.blobs.into_iter().map(row).collect();
    // Version ids are times, written so that they sort.
    rows.sort_by(|left, right| left.key.cmp(&right.key).then(right.version.cmp(&left.version)));
    let next = Some(page.next_marker).filter(|mark| !mark.is_empty());
    Some(Page { rows, next: next.map(|key| Mark { key, version: String::new() }) })
}
