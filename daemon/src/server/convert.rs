//! From what the wire says to what the pool takes.

use keelhold_disk::format::Codec as PoolCodec;
use keelhold_disk::pool::{IncomingFrame, NewContent, NewExtent, NewItem};
use keelhold_disk::units::ChunkRef;
use keelhold_wire::{Codec, Content, Extent, Frame, Item};

/// Large entries come in three kinds of items on the wire and in two in the pool, so the path of
/// the one that is open is remembered.
#[derive(Debug, Default)]
pub struct Converter {
    open: Option<(Vec<u8>, bool)>,
}

impl Converter {
    pub fn items(&mut self, items: Vec<Item>) -> Vec<NewItem> {
        items.into_iter().filter_map(|item| self.item(item)).collect()
    }

    fn item(&mut self, item: Item) -> Option<NewItem> {
        Some(match item {
            Item::Same { first, count } => NewItem::Same { first, count },
            Item::Entry { path, attributes, content } => {
                NewItem::Entry { path, attributes, content: convert_content(content) }
            }
            Item::EntryOpen { path } => {
                self.open = Some((path, false));
                return None;
            }
            Item::EntryMore { extents } => {
                if let Some((_, has_content)) = &mut self.open {
                    *has_content |= !extents.is_empty();
                }
                NewItem::More { extents: convert_extents(extents) }
            }
            Item::EntryClose { attributes } => {
                let (path, has_content) = self.open.take()?;
                let content = if has_content { NewContent::Streamed } else { NewContent::None };
                NewItem::Entry { path, attributes, content }
            }
        })
    }
}

fn convert_content(content: Content) -> NewContent {
    match content {
        Content::None => NewContent::None,
        Content::Inline(bytes) => NewContent::Inline(bytes),
        Content::Basis { ordinal } => NewContent::Basis { ordinal },
        Content::Extents(extents) => NewContent::Extents(convert_extents(extents)),
    }
}

fn convert_extents(extents: Vec<Extent>) -> Vec<NewExtent> {
    let convert = |extent| match extent {
        Extent::Chunk { id, len } => NewExtent::Chunk(ChunkRef { id, len }),
        Extent::Hole { len } => NewExtent::Hole(len),
    };
    extents.into_iter().map(convert).collect()
}

#[must_use]
pub fn frame(frame: Frame, chunks: Vec<ChunkRef>) -> IncomingFrame {
    let codec = match frame.codec {
        Codec::Raw => PoolCodec::Raw,
        Codec::Lz4 => PoolCodec::Lz4,
        Codec::Zstd => PoolCodec::Zstd,
    };
    IncomingFrame { codec, plain_len: frame.plain_len, stored: frame.stored, chunks }
}
