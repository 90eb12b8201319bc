//! A growable array of cells in pages of one size.
//!
//! One long array per shard would leave, each time it grows, a hole of a length nobody asks for
//! again: measured, a fifth of the index. A page given back fits whoever asks for one next.

/// Cells of one page: 1 KiB.
pub(super) const PAGE: usize = 128;
/// No tag and no number make this cell; it is above all that they do make.
pub(super) const EMPTY: u64 = u64::MAX;

#[derive(Default)]
pub(super) struct Cells {
    #[expect(clippy::vec_box, reason = "one long array is what pages are there to avoid")]
    pages: Vec<Box<[u64; PAGE]>>,
}

impl Cells {
    pub fn len(&self) -> usize {
        self.pages.len() * PAGE
    }

    pub fn get(&self, at: usize) -> u64 {
        self.pages[at / PAGE][at % PAGE]
    }

    pub fn set(&mut self, at: usize, cell: u64) {
        self.pages[at / PAGE][at % PAGE] = cell;
    }

    /// Takes or gives back pages at the end; new cells are empty.
    pub fn resize(&mut self, pages: usize) {
        self.pages.reserve_exact(pages.saturating_sub(self.pages.len()));
        self.pages.resize_with(pages, || Box::new([EMPTY; PAGE]));
        self.pages.shrink_to(pages);
    }

    pub fn bytes_used(&self) -> usize {
        self.len() * size_of::<u64>() + self.pages.capacity() * size_of::<Box<[u64; PAGE]>>()
    }
}
