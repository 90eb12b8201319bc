//! The entries of a recovery point as a tree of pages, each page a chunk like any other.
//!
//! Entries stand in [`path_order`](keelhold_chunk::entry::path_order) and are cut into pages by their
//! content: where a page ends depends on what is near the cut and on nothing else. Two trees that
//! share a stretch of entries therefore share its pages, whichever of them was made from the other,
//! and a tree made from its basis by differences is the one that would have been made from nothing.
//!
//! - [`TreeBuilder`] makes the next tree out of a basis and what an agent says changed. Its input is
//!   not trusted: whatever is wrong with it is a [`BuildError`].
//! - [`TreeReader`] finds, lists and walks entries and the extents of their content.
//! - [`PointReader`] reads the content of files besides, over a [`ContentStore`].
//! - All know pages only through [`PageStore`], which proves bytes before it hands them out.
//!
//! The bytes of every structure are in `PAGES.md`.

mod build;
mod content;
mod cut;
mod error;
mod extent;
mod inner;
mod item;
mod leaf;
mod load;
mod page;
mod point;
mod read;
mod refs;
mod root;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod touched;

pub use build::TreeBuilder;
pub use content::{Content, ContentRoot};
pub use error::{BuildError, PageFault, ReadError};
pub use extent::{Extent, SPAN_COUNT_MAX};
pub use item::{Item, NewContent, ResolvedExtent};
pub use leaf::{Entry, INLINE_LEN_MAX};
pub use page::{PAGE_LEN_MAX, PageKind, PageRef, PageStore};
pub use point::{ContentStore, Piece, PointReader, SpanPart};
pub use read::{Extents, Scan, TreeReader};
pub use root::TreeRoot;
pub use touched::Touched;
