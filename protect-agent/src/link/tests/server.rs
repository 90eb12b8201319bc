//! The smallest server that can tell right from wrong.

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bytes::Bytes;
use keelhold_chunk::cut::CutParams;
use keelhold_chunk::{Attributes, ChunkId, IdKey, Kind, Writer};
use keelhold_wire::header::HEADER_LEN;
use keelhold_wire::{
    BackupStats, Basis, Codec, Committed, Content, Credit, Demands, Extent, Frame, FromAgent,
    FromServer, Item, Message, Mode, Reached, Receiver, Runs, Sender, SkippedEntry, Source,
    SourceKind, StartBackup, TreeSource, Want, Welcome,
};
use tokio::io::{AsyncWriteExt, DuplexStream};

pub(super) struct Server {
    pub(super) chunks: HashMap<ChunkId, Bytes>,
    points: HashMap<[u8; 16], Vec<Entry>>,
    id_key: IdKey,
    codec: Codec,
    next_point: u8,
}

pub(super) struct Session {
    pub(super) basis: Option<Basis>,
    pub(super) read_again: Runs,
    pub(super) mode: Mode,
    pub(super) demands: Demands,
    /// Hang up after so many bytes.
    pub(super) cut_after: Option<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) attributes: Attributes,
    pub(super) content: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Point {
    id: [u8; 16],
    pub(super) entries: Vec<Entry>,
    pub(super) skipped: Vec<SkippedEntry>,
    pub(super) stats: BackupStats,
    pub(super) reached: Reached,
    pub(super) log: Vec<String>,
    pub(super) bytes_received: u64,
    pub(super) frame_count: u64,
    pub(super) trusted_by_the_file_system: bool,
}

impl Point {
    pub(super) fn basis(&self) -> Basis {
        Basis { id: self.id, entries: self.entries.len() as u64 }
    }
}

struct Intake {
    items: Vec<Item>,
    refs: Vec<(ChunkId, u32)>,
    wanted: HashSet<u64>,
    asked: HashSet<ChunkId>,
    seq: u64,
    frame_bytes: u64,
    frame_count: u64,
    skipped: Vec<SkippedEntry>,
    log: Vec<String>,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            basis: None,
            read_again: Runs::new(),
            mode: Mode::Backup,
            demands: Demands::default(),
            cut_after: None,
        }
    }
}

impl Server {
    pub(super) fn new(codec: Codec) -> Self {
        let id_key = IdKey::new([5; 32]);
        Self { chunks: HashMap::new(), points: HashMap::new(), id_key, codec, next_point: 1 }
    }

    pub(super) async fn serve(
        &mut self,
        stream: DuplexStream,
        tree: &Path,
        session: Session,
    ) -> Result<Point, String> {
        let (reader, mut writer) = tokio::io::split(stream);
        let mut receiver = Receiver::new(reader);
        let hello = receiver.receive::<FromAgent>().await.unwrap().unwrap();
        assert!(matches!(hello, FromAgent::Hello(_)));
        let welcome = Welcome {
            version: 2,
            server_version: "test".to_owned(),
            machine_name: "test".to_owned(),
            now: 0,
        };
        let start = self.start(tree, &session);
        for message in [FromServer::Welcome(welcome), FromServer::StartBackup(start)] {
            writer.write_all(&message.to_bytes()).await.unwrap();
        }
        let mut intake = Intake::new();
        let mut sender = Sender::new(writer);
        let (stats, reached) = loop {
            if session.cut_after.is_some_and(|limit| receiver.received() > limit) {
                return Err("cut".to_owned());
            }
            let message = match receiver.receive::<FromAgent>().await.unwrap() {
                None => return Err("gone".to_owned()),
                Some(FromAgent::Declined(no) | FromAgent::Aborted(no)) => {
                    return Err(format!("{} {}", no.refusal.label(), no.refusal.message));
                }
                Some(FromAgent::Finish(finish)) => break (finish.stats, finish.reached),
                Some(message) => message,
            };
            for answer in self.take(&mut intake, message) {
                sender.send(&answer).await.unwrap();
            }
            sender.flush().await.unwrap();
        };
        assert!(intake.wanted.is_empty(), "finished with chunks missing");
        let entries = self.build(&intake, session.basis);
        let id = [self.next_point; 16];
        self.next_point += 1;
        self.points.insert(id, entries.clone());
        let basis = Basis { id, entries: entries.len() as u64 };
        let committed = Committed { job: 7, point: id, basis, partial: false };
        sender.send(&FromServer::Committed(committed)).await.unwrap();
        sender.flush().await.unwrap();
        wait_for_the_end(&mut sender, &mut receiver).await;
        let trusted_by_the_file_system =
            keelhold_tree::filesystem::FileSystem::of(std::fs::File::open(tree).unwrap())
                .unwrap()
                .mapped_stores_move_ctime();
        Ok(Point {
            id,
            entries,
            skipped: intake.skipped,
            stats,
            reached,
            log: intake.log,
            bytes_received: receiver.received(),
            frame_count: intake.frame_count,
            trusted_by_the_file_system,
        })
    }

    fn start(&self, tree: &Path, session: &Session) -> StartBackup {
        let params = CutParams { min: 2 << 10, average: 8 << 10, max: 32 << 10, seed: [3; 32] };
        let mut cut = Writer::new();
        params.encode(&mut cut);
        StartBackup {
            job: 7,
            session: [9; 16],
            source: Source {
                name: "tree".to_owned(),
                kind: SourceKind::Tree(TreeSource::new(tree.as_os_str().as_bytes())),
            },
            id_key: *self.id_key.as_bytes(),
            cut: cut.finish(),
            inline_max: 512,
            frame_len: 64 << 10,
            codec: self.codec,
            mode: session.mode,
            basis: session.basis,
            read_again: session.read_again.clone(),
            demands: Box::new(session.demands.clone()),
        }
    }

    fn take(&mut self, intake: &mut Intake, message: FromAgent) -> Vec<FromServer> {
        let body_len = (message.to_bytes().len() - HEADER_LEN) as u64;
        match message {
            FromAgent::Started(_)
            | FromAgent::Progress(_)
            | FromAgent::Condition(_)
            | FromAgent::FileSystems(_) => return Vec::new(),
            FromAgent::Log(log) => {
                intake.log.extend(log.lines);
                return Vec::new();
            }
            FromAgent::Skipped(skipped) => {
                intake.skipped.extend(skipped.entries);
                return Vec::new();
            }
            FromAgent::Items(items) => {
                assert_eq!(items.seq, intake.seq + 1);
                intake.seq = items.seq;
                let wanted = self.offered(intake, &items.items);
                intake.items.extend(items.items);
                let upto = intake.refs.len() as u64;
                let want = FromServer::Want(Want { job: 7, upto, wanted });
                return vec![want, intake.credit()];
            }
            FromAgent::Frame(frame) => {
                intake.frame_bytes += body_len;
                intake.frame_count += 1;
                self.frame(intake, &frame);
            }
            other => panic!("{other:?}"),
        }
        vec![intake.credit()]
    }

    fn offered(&self, intake: &mut Intake, items: &[Item]) -> Runs {
        let mut wanted = Runs::new();
        for item in items {
            let (Item::EntryMore { extents }
            | Item::Entry { content: Content::Extents(extents), .. }) = item
            else {
                continue;
            };
            for extent in extents {
                let Extent::Chunk { id, len } = extent else {
                    continue;
                };
                let reference = intake.refs.len() as u64;
                intake.refs.push((*id, *len));
                if !self.chunks.contains_key(id) && intake.asked.insert(*id) {
                    wanted.push(reference);
                    intake.wanted.insert(reference);
                }
            }
        }
        wanted
    }

    fn frame(&mut self, intake: &mut Intake, frame: &Frame) {
        let len = frame.plain_len as usize;
        let plain = match frame.codec {
            Codec::Raw => frame.stored.to_vec(),
            Codec::Zstd => zstd::bulk::decompress(&frame.stored, len).unwrap(),
            Codec::Lz4 => {
                let mut plain = vec![0; len];
                lz4_flex::block::decompress_into(&frame.stored, &mut plain).unwrap();
                plain
            }
        };
        assert_eq!(plain.len(), len);
        let mut plain = Bytes::from(plain);
        for reference in frame.refs.iter() {
            assert!(intake.wanted.remove(&reference), "{reference} was not wanted");
            let (id, len) = intake.refs[reference as usize];
            let chunk = plain.split_to(len as usize);
            assert_eq!(self.id_key.id(&chunk), id);
            self.chunks.insert(id, chunk);
        }
        assert!(plain.is_empty());
    }

    /// The entries of the point, each checked against its own attributes.
    fn build(&self, intake: &Intake, basis: Option<Basis>) -> Vec<Entry> {
        let basis = basis.map(|basis| &self.points[&basis.id]);
        let mut entries: Vec<Entry> = Vec::new();
        let mut open: Option<(Vec<u8>, Vec<u8>)> = None;
        for item in &intake.items {
            let (path, attributes, content) = match item {
                Item::Same { first, count } => {
                    let range = *first as usize..(*first + *count) as usize;
                    entries.extend_from_slice(&basis.unwrap()[range]);
                    continue;
                }
                Item::Entry { path, attributes, content } => {
                    let content = match content {
                        Content::None => Vec::new(),
                        Content::Inline(bytes) => bytes.clone(),
                        Content::Basis { ordinal } => {
                            basis.unwrap()[*ordinal as usize].content.clone()
                        }
                        Content::Extents(extents) => self.content(extents),
                    };
                    (path.clone(), attributes, content)
                }
                Item::EntryOpen { path } => {
                    assert!(open.replace((path.clone(), Vec::new())).is_none());
                    continue;
                }
                Item::EntryMore { extents } => {
                    open.as_mut().unwrap().1.extend(self.content(extents));
                    continue;
                }
                Item::EntryClose { attributes } => {
                    let (path, content) = open.take().unwrap();
                    (path, attributes, content)
                }
            };
            let attributes = Attributes::from_bytes(attributes).unwrap();
            if let Kind::File { size } = attributes.kind {
                assert_eq!(size, content.len() as u64, "{}", String::from_utf8_lossy(&path));
            }
            entries.push(Entry { path, attributes, content });
        }
        assert!(open.is_none());
        let ordered = |pair: &[Entry]| {
            keelhold_chunk::entry::path_order(&pair[0].path, &pair[1].path).is_lt()
        };
        assert!(entries.windows(2).all(ordered));
        assert!(entries[0].path.is_empty() && entries[0].attributes.is_directory());
        entries
    }

    fn content(&self, extents: &[Extent]) -> Vec<u8> {
        let mut content = Vec::new();
        for extent in extents {
            match extent {
                Extent::Chunk { id, .. } => content.extend_from_slice(&self.chunks[id]),
                Extent::Hole { len } => content.resize(content.len() + *len as usize, 0),
            }
        }
        content
    }
}

impl Intake {
    fn new() -> Self {
        Self {
            items: Vec::new(),
            refs: Vec::new(),
            wanted: HashSet::new(),
            asked: HashSet::new(),
            seq: 0,
            frame_bytes: 0,
            frame_count: 0,
            skipped: Vec::new(),
            log: Vec::new(),
        }
    }

    fn credit(&self) -> FromServer {
        let items_seq = if self.wanted.is_empty() { self.seq } else { 0 };
        FromServer::Credit(Credit { job: 7, items_seq, frame_bytes: self.frame_bytes })
    }
}

/// Hangs up in an orderly way; the agent then ends its jobs before it hangs up itself.
async fn wait_for_the_end<W, R>(sender: &mut Sender<W>, receiver: &mut Receiver<R>)
where
    W: tokio::io::AsyncWrite + Unpin,
    R: tokio::io::AsyncRead + Unpin,
{
    sender.close().await.unwrap();
    while let Ok(Some(_)) = receiver.receive::<FromAgent>().await {}
}
