//! What an entry's content is in the tree, whichever way it was given.

use super::TreeBuilder;
use crate::tree::content::Content;
use crate::tree::content::write::{ContentWriter, WrittenContent};
use crate::tree::error::BuildError;
use crate::tree::leaf::{Entry, INLINE_LEN_MAX};
use crate::tree::{NewContent, PageStore};

impl<S: PageStore> TreeBuilder<S> {
    /// The content, with its true length: whether that is what the attributes say is for the caller.
    pub(super) async fn resolve(
        &mut self,
        content: NewContent,
    ) -> Result<WrittenContent, BuildError<S::Error>> {
        let streamed = self.streamed.take();
        if streamed.is_some() && content != NewContent::Streamed {
            return Err(BuildError::ContentOpen);
        }
        let store = self.loader.store();
        match content {
            NewContent::None => Ok(in_entry(Content::None, 0)),
            NewContent::Inline(bytes) => inline(bytes),
            NewContent::Basis { ordinal } => {
                let entry = self.basis_entry(ordinal).await?;
                let len = entry.size();
                Ok(in_entry(entry.content, len))
            }
            NewContent::Extents(parts) => {
                let mut writer = ContentWriter::new(self.key.clone(), self.rules);
                writer.extend(store, &parts).await?;
                writer.finish(store).await
            }
            NewContent::Streamed => {
                let writer = streamed.ok_or(BuildError::NoContent)?;
                writer.finish(store).await
            }
        }
    }

    async fn basis_entry(&self, ordinal: u64) -> Result<Entry, BuildError<S::Error>> {
        let found = self.loader.entry_at(self.basis.root(), ordinal).await?;
        found.ok_or(BuildError::NoSuchEntry { ordinal, basis: self.basis.end() })
    }
}

fn inline<E>(bytes: Vec<u8>) -> Result<WrittenContent, BuildError<E>> {
    match bytes.len() {
        0 => Ok(in_entry(Content::None, 0)),
        len if len > INLINE_LEN_MAX => Err(BuildError::InlineTooLong { len }),
        len => Ok(in_entry(Content::Inline(bytes.into()), len as u64)),
    }
}

fn in_entry(content: Content, len: u64) -> WrittenContent {
    WrittenContent { content, len, refs: None }
}
