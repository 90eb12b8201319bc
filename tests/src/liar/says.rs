//! The liar's words in a backup.

use keelhold_chunk::{Attributes, IdKey, Kind, Timestamp};
use keelhold_wire::{
    BackupStats, Codec, Content, Extent, Finish, Frame, FromAgent, Item, Items, Runs, Started,
};

use super::Liar;

/// Attributes that nothing is wrong with.
#[must_use]
pub fn attributes(kind: Kind) -> Vec<u8> {
    let mtime = Timestamp { secs: 5, nanos: 6 };
    let (mode, uid, gid) = (0o755, 1, 1);
    Attributes { kind, mode, uid, gid, mtime, link_group: None, xattrs: Vec::new() }.to_bytes()
}

#[must_use]
pub fn entry(path: &[u8], kind: Kind, content: Content) -> Item {
    Item::Entry { path: path.to_vec(), attributes: attributes(kind), content }
}

#[must_use]
pub fn root() -> Item {
    entry(b"", Kind::Directory, Content::None)
}

#[must_use]
pub fn file(path: &[u8], size: u64, content: Content) -> Item {
    entry(path, Kind::File { size }, content)
}

/// Bytes that compress to nothing less and are those of no other seed.
#[must_use]
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

impl Liar {
    /// The number of the job.
    #[must_use]
    pub fn job(&self) -> u64 {
        self.start.as_ref().expect("a job was started").job
    }

    /// How many entries the basis has.
    #[must_use]
    pub fn basis(&self) -> u64 {
        let start = self.start.as_ref().expect("a job was started");
        start.basis.expect("the source has a point").entries
    }

    /// The right name of these bytes.
    #[must_use]
    pub fn chunk(&self, bytes: &[u8]) -> Extent {
        let start = self.start.as_ref().expect("a job was started");
        Extent::Chunk { id: IdKey::new(start.id_key).id(bytes), len: bytes.len() as u32 }
    }

    pub fn begin(&mut self) {
        let job = self.job();
        self.say(&FromAgent::Started(Started { job }));
    }

    pub fn items(&mut self, seq: u64, items: Vec<Item>) {
        let job = self.job();
        self.say(&FromAgent::Items(Items { job, seq, items }));
    }

    pub fn frame(&mut self, refs: Runs, plain_len: u32, codec: Codec, stored: Vec<u8>) {
        let (job, stored) = (self.job(), stored.into());
        self.say(&FromAgent::Frame(Frame { job, codec, plain_len, refs, stored }));
    }

    /// Reference 0, as it is.
    pub fn plain_frame(&mut self, bytes: &[u8]) {
        let refs = [0].into_iter().collect();
        self.frame(refs, bytes.len() as u32, Codec::Raw, bytes.to_vec());
    }

    pub fn finish(&mut self) {
        let job = self.job();
        let stats = BackupStats { files: 1, ..BackupStats::default() };
        self.say(&FromAgent::Finish(Finish {
            job,
            stats,
            reached: keelhold_wire::Reached::default(),
        }));
    }

    /// A whole stream of these items, from its beginning to its end.
    pub fn tree(&mut self, items: Vec<Item>) {
        self.begin();
        self.items(1, items);
        self.finish();
    }

    /// Begins, and offers a file `a` of these bytes, as reference 0.
    pub fn offer(&mut self, bytes: &[u8]) {
        self.begin();
        let content = Content::Extents(vec![self.chunk(bytes)]);
        self.items(1, vec![root(), file(b"a", bytes.len() as u64, content)]);
    }
}
