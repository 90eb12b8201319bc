//! How a point is named: by its id or a beginning of it, or as `MACHINE/NAME@latest`,
//! `MACHINE/NAME@working`, `MACHINE/NAME@TIME`.

use crate::clock::{parse_time, rfc3339};
use crate::failure::{Code, Failure};
use crate::id_text;
use crate::record::SourceName;
use crate::source::Names;
use keelhold_disk::pool::PointInfo;
use keelhold_disk::units::{SourceId, UnixNanos};
use std::str::FromStr;
use thiserror::Error;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PointError {
    #[error("{text:?} names no point: an id, or MACHINE/NAME@latest, @working or @TIME is needed")]
    Form { text: String },
    #[error("there is no source {name}")]
    NoSource { name: SourceName },
    #[error("there is no point {text}")]
    Unknown { text: String },
    #[error("{count} points begin with {text}")]
    Ambiguous { text: String, count: usize },
    #[error("{name} has no point yet")]
    NoPoints { name: SourceName },
    #[error("{name} has no point at or before {at}")]
    NoneBefore { name: SourceName, at: String },
    #[error("{name} has no working state")]
    NoWorkingState { name: SourceName },
}

impl From<PointError> for Failure {
    fn from(error: PointError) -> Self {
        let code = match &error {
            PointError::Form { .. } => Code::BadRequest,
            PointError::NoSource { .. } => Code::SourceUnknown,
            PointError::Ambiguous { .. } => Code::PointAmbiguous,
            _ => Code::PointUnknown,
        };
        Self::of(code, &error)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PointAddress {
    /// Characters of an id.
    Id(String),
    Of(SourceName, PointSpec),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointSpec {
    Latest,
    Working,
    /// The newest at or before.
    At(UnixNanos),
}

impl FromStr for PointAddress {
    type Err = PointError;

    fn from_str(text: &str) -> Result<Self, PointError> {
        let form = || PointError::Form { text: text.to_owned() };
        let Some((source, spec)) = text.split_once('@') else {
            return if id_text::is_prefix(text) {
                Ok(Self::Id(text.to_owned()))
            } else {
                Err(form())
            };
        };
        let source = source.parse().map_err(|_| form())?;
        let spec = match spec {
            "latest" => PointSpec::Latest,
            "working" => PointSpec::Working,
            time => PointSpec::At(parse_time(time).ok_or_else(form)?),
        };
        Ok(Self::Of(source, spec))
    }
}

impl PointAddress {
    /// The one point that is meant. `points` are in the order of their commits; `working` gives a
    /// source's working state.
    pub fn resolve(
        &self,
        points: &[PointInfo],
        names: &Names,
        working: impl Fn(SourceId) -> Option<PointInfo>,
    ) -> Result<PointInfo, PointError> {
        match self {
            Self::Id(text) => by_id(text, points),
            Self::Of(name, spec) => by_source(name, *spec, points, names, working),
        }
    }
}

fn by_id(text: &str, points: &[PointInfo]) -> Result<PointInfo, PointError> {
    let matches = |point: &&PointInfo| id_text::encode(&point.id.0).starts_with(text);
    let found: Vec<&PointInfo> = points.iter().filter(matches).collect();
    match found.as_slice() {
        [point] => Ok((*point).clone()),
        [] => Err(PointError::Unknown { text: text.to_owned() }),
        _ => Err(PointError::Ambiguous { text: text.to_owned(), count: found.len() }),
    }
}

fn by_source(
    name: &SourceName,
    spec: PointSpec,
    points: &[PointInfo],
    names: &Names,
    working: impl Fn(SourceId) -> Option<PointInfo>,
) -> Result<PointInfo, PointError> {
    let name = name.clone();
    let ids: Vec<SourceId> = names
        .sources_named(&name)
        .iter()
        .filter_map(|source| id_text::decode(&source.id).map(SourceId))
        .collect();
    if ids.is_empty() {
        return Err(PointError::NoSource { name });
    }
    let newest = |limit: UnixNanos| {
        // What is in the trash is meant only by its id.
        let is_listed = |point: &&PointInfo| point.trashed_until.is_none();
        let of_source = points.iter().filter(is_listed).filter(|point| ids.contains(&point.source));
        // Later commits win among equal times.
        of_source.filter(|point| point.at <= limit).max_by_key(|point| point.at).cloned()
    };
    match spec {
        PointSpec::Latest => newest(UnixNanos(i64::MAX)).ok_or(PointError::NoPoints { name }),
        PointSpec::At(at) => {
            newest(at).ok_or_else(|| PointError::NoneBefore { name, at: rfc3339(at) })
        }
        PointSpec::Working => {
            let found = ids.iter().find_map(|id| working(*id));
            found.ok_or(PointError::NoWorkingState { name })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_point() {
        let parse = |text: &str| text.parse::<PointAddress>();
        assert_eq!(parse("abcdef"), Ok(PointAddress::Id("abcdef".into())));
        let latest = parse("web/etc@latest").unwrap();
        assert!(matches!(latest, PointAddress::Of(_, PointSpec::Latest)));
        let at = parse("web/etc@2026-01-02T03:04:05Z").unwrap();
        assert!(matches!(at, PointAddress::Of(_, PointSpec::At(_))));
        for text in ["abc", "web@latest", "web/etc@yesterday", "", "@", "ABCDEF"] {
            assert!(matches!(parse(text), Err(PointError::Form { .. })), "{text}");
        }
    }
}
