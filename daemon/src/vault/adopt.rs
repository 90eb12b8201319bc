//! A vault opened by who has nothing but its kit or passphrase.

use super::adopted::Adopted;
use super::failure::{of_chain, of_read};
use super::kit::{combined, passphrase as checked};
use super::place::Place;
use super::records::AdoptedRecords;
use crate::failure::{Code, Failure};
use crate::id_text;
use crate::record::{VaultRecord, VaultSecret, VaultSeen};
use data_encoding::HEXLOWER;
use keelhold_vault::chain::{self as manifests, Opened, Unlock};
use keelhold_vault::read::VaultReader;
use std::sync::Arc;

/// A vault that opened, and what it knows of its appliance.
#[derive(Debug)]
pub struct Found {
    opened: Opened,
    records: AdoptedRecords,
    by_kit: bool,
}

pub async fn adopt(
    place: &Arc<Place>,
    kit: &[String],
    passphrase: Option<&str>,
) -> Result<Found, Failure> {
    let opened = match passphrase {
        _ if !kit.is_empty() => {
            let secret = combined(kit)?;
            manifests::open(&**place, Unlock::Kit(&secret), None).await
        }
        Some(text) => {
            let passphrase = checked(text)?;
            manifests::open(&**place, Unlock::Passphrase(&passphrase), None).await
        }
        None => {
            let text = "neither a kit nor a passphrase was given";
            return Err(Failure::new(Code::VaultKey, text)
                .hint("name the files of the kit with --kit, or --passphrase-file FILE"));
        }
    };
    let opened = opened.map_err(|error| of_chain(&error))?;
    let (master, view) = (Arc::clone(&opened.master), Arc::clone(&opened.view));
    let reader = VaultReader::new(Arc::clone(place), master, view, None);
    let found = reader.records().await.map_err(|error| of_read(&error))?;
    let hex = |value: &[u8]| HEXLOWER.encode(value);
    let records = found.records.iter().map(|(name, (_, value))| (name.clone(), hex(value)));
    let series = found.series.iter().map(|(name, entries)| {
        let entries = entries.iter().map(|(number, value)| (*number, hex(value)));
        (name.clone(), entries.collect())
    });
    let records = AdoptedRecords { records: records.collect(), series: series.collect() };
    Ok(Found { opened, records, by_kit: !kit.is_empty() })
}

impl Found {
    #[must_use]
    pub fn into_adopted(
        self,
        url: String,
        endpoint: Option<String>,
        credential: Option<String>,
    ) -> Adopted {
        let Self { opened, records, by_kit } = self;
        let id = id_text::encode(&opened.master.vault().0);
        let known = Adopted::name_in(&records, &id);
        let has_passphrase = opened.slots.all().iter().any(|slot| slot.is_passphrase());
        let vault = VaultRecord {
            name: known.as_ref().map_or_else(|| String::from("vault"), |of| of.name.clone()),
            id,
            url,
            endpoint,
            added_at: known.as_ref().map_or(opened.view.made_at, |of| of.added_at),
            bandwidth: known.as_ref().map(|of| of.bandwidth.clone()).unwrap_or_default(),
            lease: known.as_ref().and_then(|of| of.lease),
            geo: None,
            closed: known.as_ref().is_some_and(|of| of.closed),
            zone_at: known.as_ref().and_then(|of| of.zone_at),
            // It may have been printed after the last shipment: whoever adopted by it has it.
            kit_at: known
                .as_ref()
                .and_then(|of| of.kit_at)
                .or(by_kit.then_some(opened.view.made_at)),
            has_passphrase,
        };
        let secret = VaultSecret {
            master_hex: HEXLOWER.encode(&opened.master.expose()[..]),
            number: opened.master.number(),
            credential,
            kit_hex: None,
            geo_credential: None,
        };
        let seen = VaultSeen {
            number: opened.newest.number.0,
            link_hex: HEXLOWER.encode(&opened.newest.link.0),
            shipped_at: Some(opened.view.made_at),
            ..VaultSeen::default()
        };
        let points = opened.view.points.len() as u64;
        Adopted { vault, secret, seen, records, points }
    }
}
