//! What the pool's tables say: chunks, points, sessions, sources, records, and the state they are kept in.

use keelhold_chunk::{ChunkId, Reader};

use super::section::{Section, words};
use super::{Inspector, Work};
use crate::device::Device;
use crate::format::{BlobRef, ContainerHeader, PointRow, RunRef, State, StateRoot};
use crate::pool::{Inner, Pool};
use crate::sets::SetDelta;
use crate::tree::TreeRoot;
use crate::units::{ChunkNumber, PointId, SessionId, SourceId};

/// A run, and the ordinal of a chunk in it.
type ChunkPlace = ((u32, u16), u16);

/// A point as its row has it. Attributes are the daemon's: their length is shown.
pub(super) fn row_facts(section: Section, row: &PointRow) -> Section {
    section
        .fact("point", row.id.0)
        .fact("source", row.source.0)
        .fact("working", row.working)
        .time("at", row.at)
        .time("committed_at", row.committed_at)
        .fact("partial", row.result != 0)
        .fact("recipe", row.recipe.0)
        .fact("recipe_digest", *row.recipe_digest.as_bytes())
        .fact("bytes_source", row.bytes_source)
        .fact("entries", row.entry_count)
        .time("trashed_until", row.trashed_until)
        .fact("attributes_len", row.attributes.len())
}

impl<D: Device, W: Work> Inspector<D, W> {
    pub(super) fn inner(&self) -> Option<&Inner<D, W>> {
        self.pool.as_ref().map(|pool: &Pool<D, W>| &*pool.inner)
    }

    /// Where the index has a chunk.
    pub(super) fn index_place(&self, number: ChunkNumber) -> Option<ChunkPlace> {
        let slot = self.inner()?.tables.borrow().index.slot(number)?;
        let place = slot.place;
        Some(((place.container, place.run_block), place.ordinal))
    }

    /// A container's header as the tables have it.
    pub(super) fn row_header(&self, container: u32) -> Option<ContainerHeader> {
        let tables = self.inner()?.tables.borrow();
        let row = tables.containers.get(&container)?.row;
        let (generation, purpose, salt) = (row.generation, row.purpose, row.salt);
        Some(ContainerHeader { container, generation, purpose, salt })
    }

    pub(super) fn row_facts(&self, section: Section, container: u32) -> Section {
        let Some(inner) = self.inner() else { return section };
        let tables = inner.tables.borrow();
        let Some(found) = tables.containers.get(&container) else {
            return section.fact("in_tables", false);
        };
        let row = found.row;
        section
            .fact("in_tables", true)
            .fact("generation", row.generation)
            .fact("sealed", row.sealed)
            .fact("has_footer", row.has_footer)
            .fact("used_blocks", row.used_blocks)
            .fact("runs", row.run_count)
            .fact("freed_at", row.freed_at)
    }

    /// Counts of everything, as far as the pool could be opened.
    pub(super) fn pool_summary(&self) -> Section {
        let section = self.with_state(Section::new("pool"));
        let Some(inner) = self.inner() else { return section };
        let tables = inner.tables.borrow();
        let of_purpose =
            |code: u8| tables.containers.values().filter(|of| of.row.purpose as u8 == code).count();
        section
            .fact("encrypted", inner.fixed.is_encrypted())
            .time("witnessed", tables.witnessed)
            .fact("next_number", tables.next_number)
            .fact("next_generation", tables.next_generation)
            .fact("containers_data", of_purpose(1))
            .fact("containers_state", of_purpose(2))
            .fact("slots_free", tables.free_slots())
            .fact("chunks", tables.index.len())
            .fact("sources", tables.sources.len())
            .fact("points", tables.points.len())
            .fact("sessions", tables.sessions.len())
            .fact("records", tables.records.len())
            .fact("series", tables.series.len())
    }

    pub(super) async fn chunk(&self, number: ChunkNumber) -> Vec<Section> {
        let section = self.with_state(Section::new(format!("chunk {}", number.0)));
        let (Some(inner), Some(pool)) = (self.inner(), &self.pool) else {
            return vec![section];
        };
        let Some((run, ordinal)) = self.index_place(number) else {
            let given = number.0 < inner.tables.borrow().next_number;
            let why = if given { "given once, and nowhere now" } else { "never given" };
            return vec![section.fault(why)];
        };
        let mut section =
            section.fact("run", format!("{}:{}", run.0, run.1)).fact("ordinal", u32::from(ordinal));
        section = match inner.locate(number).await {
            Ok(found) => {
                let entry = found.directory.frames[usize::from(found.chunk.frame)];
                let section = section
                    .fact("id", *found.chunk.id.as_bytes())
                    .fact("kind", format!("{:?}", found.chunk.kind))
                    .fact("len", found.chunk.len)
                    .fact("frame", u32::from(found.chunk.frame))
                    .fact("offset_in_frame", found.chunk.offset)
                    .fact("frame_stored_len", entry.stored_len)
                    .fact("frame_codec", format!("{:?}", entry.codec));
                match inner.chunk_bytes(&found).await {
                    Ok(_) => section.fact("proved", true),
                    Err(error) => section.fault(words(&error)),
                }
            }
            Err(error) => section.fault(words(&error)),
        };
        let sources: Vec<SourceId> = {
            let tables = inner.tables.borrow();
            let with = tables.sources.iter().filter(|(_, of)| of.chain.held().contains(number.0));
            with.map(|(id, _)| *id).collect()
        };
        section = sources.iter().fold(section, |section, id| section.fact("of_source", id.0));
        let touched = pool.points_touched(&std::iter::once(number.0).collect());
        vec![touched.iter().fold(section, |section, point| section.fact("of_point", point.0))]
    }

    pub(super) async fn chunk_id(&self, id: &ChunkId) -> Vec<Section> {
        let section = self.with_state(Section::new("chunk id")).fact("id", *id.as_bytes());
        let Some(inner) = self.inner() else { return vec![section] };
        match inner.find(id).await {
            Some((number, _)) => self.chunk(number).await,
            None => vec![section.fault("no readable chunk of the pool has this id")],
        }
    }

    pub(super) async fn point(&self, id: &PointId) -> Section {
        let section = self.with_state(Section::new(format!("point {id}")));
        let Some(inner) = self.inner() else { return section };
        let Some(row) = inner.row(id) else {
            return section.fault("not in the tables");
        };
        let section = row_facts(section, &row);
        let recipe = match inner.recipe(&row).await {
            Ok(recipe) => recipe,
            Err(error) => return section.fault(format!("recipe: {}", words(&error))),
        };
        let mut part = Section::new("recipe").fact("references_len", recipe.extra.len());
        part = match TreeRoot::decode(&mut Reader::new(&recipe.root)) {
            Ok(root) => part.fact("root", format!("{root:?}")),
            Err(error) => part.fault(format!("root: {error}")),
        };
        part = match SetDelta::decode(&mut Reader::new(&recipe.delta)) {
            Ok(delta) => part.fact("born", delta.born.len()).fact("died", delta.died.len()),
            Err(error) => part.fault(format!("delta: {error}")),
        };
        section.part(part)
    }

    pub(super) fn session(&self, id: &SessionId) -> Section {
        let section = self.with_state(Section::new(format!("session {id}")));
        let Some(inner) = self.inner() else { return section };
        let tables = inner.tables.borrow();
        let Some(found) = tables.sessions.get(id) else {
            return section.fault("not in the tables");
        };
        let section = section
            .fact("source", found.source.0)
            .fact("domain", found.domain.0)
            .time("opened_at", found.opened_at)
            .time("lease_until", found.lease_until)
            .fact("numbers", found.numbers.len());
        match found.basis {
            Some(basis) => section.fact("basis", basis.0),
            None => section,
        }
    }

    pub(super) fn source(&self, id: &SourceId) -> Section {
        let section = self.with_state(Section::new(format!("source {id}")));
        let Some(inner) = self.inner() else { return section };
        let tables = inner.tables.borrow();
        let Some(found) = tables.sources.get(id) else {
            return section.fault("not in the tables");
        };
        let mut section = section
            .fact("domain", found.domain.0)
            .fact("next_number", found.lease_next.0)
            .fact("numbers_end", found.lease_end.0)
            .fact("chunks_of_newest", found.chain.last_reach().len())
            .fact("chunks_held", found.chain.held().len());
        if let Some(newest) = found.newest_listed() {
            section = section.fact("newest_point", newest.0);
        }
        if let Some((row, _)) = &found.working {
            section = section.part(row_facts(Section::new("working state"), row));
        }
        let points = tables.points.iter().filter(|point| point.source == *id);
        points.fold(section, |section, point| section.fact("point", point.id.0))
    }

    /// A record without what it holds: certificates and keys are among them.
    pub(super) fn record(&self, name: &str) -> Section {
        let section = self.with_state(Section::new(format!("record {name}")));
        let Some(inner) = self.inner() else { return section };
        let tables = inner.tables.borrow();
        if let Some(record) = tables.records.get(name) {
            return section
                .fact("version", record.version)
                .fact("len", record.value.len())
                .fact("blake3", *blake3::hash(&record.value).as_bytes());
        }
        let section = section.fault("not in the tables");
        let alike = tables.records.keys().filter(|other| other.starts_with(name)).take(20);
        alike.fold(section, |section, other| section.fact("begins_alike", other.as_str()))
    }

    /// The checkpoint: its root, its tables, the segments of the index, each at every place it has.
    pub(super) async fn state(&self) -> Vec<Section> {
        let mut sections = vec![self.pool_summary()];
        let (Some(inner), Some(root)) = (self.inner(), &self.root) else {
            return sections;
        };
        let mut section = Section::new(format!("checkpoint {}", root.sequence));
        let mut content = None;
        for run in &root.root {
            let (part, bytes) = state_run(inner, run).await;
            section = section.part(Section { what: format!("root {}", part.what), ..part });
            content = content.or(bytes);
        }
        let Some(content) = content else {
            sections.push(section.fault("no copy of the root is whole"));
            return sections;
        };
        let decoded = match StateRoot::from_bytes(&content) {
            Ok(decoded) => decoded,
            Err(error) => {
                sections.push(section.fault(format!("the root cannot be decoded: {error}")));
                return sections;
            }
        };
        let (mut tables, bytes) = blob(inner, "tables", &decoded.tables).await;
        if let Some(bytes) = bytes {
            tables = match State::from_bytes(&bytes) {
                Ok(state) => tables
                    .fact("containers", state.containers.len())
                    .fact("sources", state.sources.len())
                    .fact("points", state.points.len())
                    .fact("sessions", state.sessions.len())
                    .fact("records", state.records.len())
                    .fact("series", state.series.len()),
                Err(error) => tables.fault(format!("cannot be decoded: {error}")),
            };
        }
        section = section.part(tables);
        for (number, (entries, segment)) in decoded.segments.iter().enumerate() {
            let (part, _) = blob(inner, &format!("index segment {number}"), segment).await;
            section = section.part(part.fact("entries", *entries));
        }
        for (number, (level, sheet)) in decoded.sheets.iter().enumerate() {
            let (part, _) = blob(inner, &format!("index sheet {number}"), sheet).await;
            section = section.part(part.fact("level", *level));
        }
        sections.push(section);
        sections
    }
}

/// A byte stream at every place it has, and its bytes from the first that is whole.
async fn blob<D: Device, W: Work>(
    inner: &Inner<D, W>,
    what: &str,
    blob: &BlobRef,
) -> (Section, Option<Vec<u8>>) {
    let mut section = Section::new(what).fact("len", blob.len);
    let mut content = None;
    for (number, runs) in blob.copies.iter().enumerate() {
        let mut copy = Section::new(format!("copy {number}"));
        let mut bytes = Some(Vec::new());
        for run in runs {
            let (part, found) = state_run(inner, run).await;
            copy = copy.part(part);
            bytes = match (bytes, found) {
                (Some(mut all), Some(more)) => {
                    all.extend_from_slice(&more);
                    Some(all)
                }
                _ => None,
            };
        }
        section = section.part(copy);
        content = content.or(bytes);
    }
    (section, content)
}

async fn state_run<D: Device, W: Work>(
    inner: &Inner<D, W>,
    run: &RunRef,
) -> (Section, Option<Vec<u8>>) {
    let section = Section::new(format!("run {}:{}", run.container, run.block))
        .fact("generation", run.generation)
        .fact("blocks", run.blocks)
        .fact("check", run.check);
    match inner.read_runs(std::slice::from_ref(run)).await {
        Ok(bytes) => (section.fact("proved", true), Some(bytes)),
        Err(error) => (section.fault(words(&error)), None),
    }
}
