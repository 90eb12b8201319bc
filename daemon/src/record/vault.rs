//! What the pool keeps of a vault.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultRecord {
    pub name: String,
    /// The vault's own id: another vault at the same place is another.
    pub id: String,
    /// `file:///DIR`, `s3://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`.
    pub url: String,
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Nanoseconds since 1970.
    pub added_at: i64,
    /// Shipping to it, by hours of the week; lines as `[[bandwidth]]` of a group has them.
    #[serde(default)]
    pub bandwidth: Vec<BandwidthRule>,
    /// Seconds that objects are locked for; none: they are not; `i64::MAX`: until they expire.
    #[serde(default)]
    pub lease: Option<i64>,
    /// Nothing is shipped to it any more: it was moved.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
    /// When the kit was last printed.
    #[serde(default)]
    pub kit_at: Option<i64>,
    #[serde(default)]
    pub has_passphrase: bool,
    /// A second place that is kept in step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub geo: Option<GeoRecord>,
    /// When somebody last said that the store keeps copies in several zones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_at: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeoRecord {
    pub url: String,
    #[serde(default)]
    pub endpoint: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BandwidthRule {
    pub when: String,
    pub limit: String,
}

/// The pool is as secret as what it protects. No vault gets to know these.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultSecret {
    pub master_hex: String,
    pub number: u32,
    /// Text of the file the credential was given in.
    #[serde(default)]
    pub credential: Option<String>,
    /// Secret of a kit that nobody has printed yet.
    #[serde(default)]
    pub kit_hex: Option<String>,
    /// Of the second place.
    #[serde(default)]
    pub geo_credential: Option<String>,
}

impl std::fmt::Debug for VaultSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VaultSecret")
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultSeen {
    pub number: u64,
    pub link_hex: String,
    /// When the last shipment was committed, in nanoseconds since 1970.
    #[serde(default)]
    pub shipped_at: Option<i64>,
    /// When it was last proved that the vault can be restored from, and what came of it.
    #[serde(default)]
    pub verified_at: Option<i64>,
    #[serde(default)]
    pub verified_ok: bool,
    /// Objects and bytes there, as of the last shipment.
    #[serde(default)]
    pub objects: u64,
    #[serde(default)]
    pub bytes: u64,
    /// The newest manifest that is at the second place, and when it was copied there.
    #[serde(default)]
    pub geo_number: u64,
    #[serde(default)]
    pub geo_at: Option<i64>,
    /// When leases were last looked after.
    #[serde(default)]
    pub renewed_at: Option<i64>,
    /// When mostly dead objects are looked for next.
    #[serde(default)]
    pub repack_at: Option<i64>,
}
