//! Listings: API, ListObjectsV2 and ListObjectVersions.

use std::fmt::Write;

use hyper::http::request::Parts;

use super::Fault;
use super::rules::{Bucket, Version};
use super::sigv4::query;

#[derive(Debug, Default)]
pub struct List {
    prefix: String,
    max: usize,
    /// Where the page begins: behind this key, and behind this version of it.
    key: String,
    version: Option<String>,
}

impl List {
    pub fn of(parts: &Parts, page_max: usize) -> Self {
        let mut list = Self { max: page_max, ..Self::default() };
        for (name, value) in query(parts) {
            match name.as_str() {
                "prefix" => list.prefix = value,
                "max-keys" => list.max = value.parse().unwrap_or(page_max).min(page_max),
                "key-marker" | "continuation-token" => list.key = value,
                "start-after" if list.key.is_empty() => list.key = value,
                "version-id-marker" => list.version = Some(value),
                _ => {}
            }
        }
        list
    }

    /// API, ListObjectVersions: keys ascend; of a key, the version that was stored last comes first; a
    /// key marker alone begins behind all versions of its key.
    pub fn versions(&self, bucket: &Bucket, fault: Option<Fault>) -> String {
        let mut rows: Vec<(&str, &Version, bool)> = Vec::new();
        for (key, versions) in &bucket.keys {
            if !key.starts_with(&self.prefix) || *key < self.key {
                continue;
            }
            let mut from = 0;
            if *key == self.key {
                let place = self
                    .version
                    .as_ref()
                    .and_then(|id| versions.iter().rev().position(|version| version.id == *id));
                from = place.map_or(versions.len(), |place| place + 1);
            }
            let newest = versions.len().saturating_sub(1);
            for (place, version) in versions.iter().enumerate().rev().skip(from) {
                rows.push((key, version, place == newest));
            }
        }
        let is_truncated = rows.len() > self.max;
        rows.truncate(self.max);
        let mut out = String::from("<?xml version=\"1.0\"?><ListVersionsResult>");
        if let Some((key, version, _)) = rows.last().filter(|_| is_truncated) {
            let _ = write!(
                out,
                "<NextKeyMarker>{key}</NextKeyMarker>\
                 <NextVersionIdMarker>{}</NextVersionIdMarker>",
                version.id
            );
        }
        let _ = write!(out, "<IsTruncated>{is_truncated}</IsTruncated>");
        match fault {
            Some(Fault::ShortList) => drop(rows.pop()),
            Some(Fault::BackwardList) => rows.reverse(),
            _ => {}
        }
        for (key, version, is_latest) in rows {
            let key = if fault == Some(Fault::StrangeList) { "Etc/passwd" } else { key };
            let tag = if version.bytes.is_some() { "Version" } else { "DeleteMarker" };
            let _ = write!(
                out,
                "<{tag}><Key>{key}</Key><VersionId>{}</VersionId><IsLatest>{is_latest}</IsLatest>",
                version.id
            );
            if let Some(bytes) = &version.bytes {
                let _ = write!(out, "<Size>{}</Size>", bytes.len());
            }
            let _ = write!(out, "</{tag}>");
        }
        out.push_str("</ListVersionsResult>");
        out
    }

    /// API, ListObjectsV2: keys whose current version is no marker, in order.
    pub fn names(&self, bucket: &Bucket, fault: Option<Fault>) -> String {
        let live = bucket.keys.iter().filter_map(|(key, versions)| {
            let bytes = versions.last()?.bytes.as_ref()?;
            let is_asked = key.starts_with(&self.prefix) && *key > self.key;
            is_asked.then_some((key.as_str(), bytes.len()))
        });
        let mut rows: Vec<(&str, usize)> = live.collect();
        let is_truncated = rows.len() > self.max;
        rows.truncate(self.max);
        let mut out = String::from("<?xml version=\"1.0\"?><ListBucketResult>");
        if let Some((key, _)) = rows.last().filter(|_| is_truncated) {
            let _ = write!(out, "<NextContinuationToken>{key}</NextContinuationToken>");
        }
        let _ = write!(out, "<IsTruncated>{is_truncated}</IsTruncated>");
        match fault {
            Some(Fault::ShortList) => drop(rows.pop()),
            Some(Fault::BackwardList) => rows.reverse(),
            _ => {}
        }
        for (key, len) in rows {
            let _ = write!(
                out,
                "<Contents><Key>{key}</Key><Size>{len}</Size>\
                 <LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                 <ETag>&quot;e&quot;</ETag></Contents>"
            );
        }
        out.push_str("</ListBucketResult>");
        out
    }
}
