//! Names for what is made: the entry's own, or another where that is taken.

use super::OnClash;
use super::directory::copy_names;
use super::place::Place;
use super::report::UnwrittenReason;
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// Interim names tried before giving up: each is new in this process, so one other writer in the same
/// directory costs a few.
const INTERIM_MAX: usize = 100;

/// Under which name an entry was made, and which it is to take when it is complete.
#[derive(Debug)]
pub(crate) struct Landing {
    pub(crate) name: Box<[u8]>,
    pub(crate) replaces: Option<Box<[u8]>>,
}

impl Place {
    /// Makes something under the entry's name or, if that is taken, as the policy for clashes says.
    /// `make` must fail with `EEXIST` where the name is taken.
    pub(crate) fn at_free_name<T>(
        &self,
        make: impl Fn(&OwnedFd, &[u8]) -> Result<T, UnwrittenReason>,
    ) -> Result<(T, Landing), UnwrittenReason> {
        let dir = self.dir.dir.open().map_err(|_| UnwrittenReason::DirectoryMissing)?;
        match make(&dir, &self.name) {
            Err(reason) if reason.is_taken() => {}
            done => {
                return Ok((done?, Landing { name: self.name.clone(), replaces: None }));
            }
        }
        if self.dir.fresh {
            return Err(UnwrittenReason::NameTaken);
        }
        let names: Box<dyn Iterator<Item = Vec<u8>>> = match self.shared.on_clash {
            OnClash::Skip => return Err(UnwrittenReason::Exists),
            OnClash::Copy => Box::new(copy_names(&self.name)),
            OnClash::Overwrite => {
                Box::new(std::iter::repeat_with(|| self.shared.interim_name()).take(INTERIM_MAX))
            }
        };
        let overwrite = self.shared.on_clash == OnClash::Overwrite;
        for name in names {
            match make(&dir, &name) {
                Err(reason) if reason.is_taken() => {}
                done => {
                    let replaces = overwrite.then(|| self.name.clone());
                    return Ok((done?, Landing { name: name.into(), replaces }));
                }
            }
        }
        Err(UnwrittenReason::NameTaken)
    }
}

impl Landing {
    pub(crate) fn final_name(&self) -> &[u8] {
        self.replaces.as_ref().unwrap_or(&self.name)
    }

    /// Takes the place of what is there, in one step: at no moment is neither of the two there.
    pub(crate) fn land(&self, place: &Place) -> Result<(), UnwrittenReason> {
        let Some(replaced) = &self.replaces else {
            return Ok(());
        };
        let dir = place.dir.dir.open().map_err(|_| UnwrittenReason::DirectoryMissing)?;
        let rename = || rustix::fs::renameat(&dir, &self.name[..], &dir, &replaced[..]);
        let done = match rename() {
            Err(Errno::ISDIR) => {
                match rustix::fs::unlinkat(&dir, &replaced[..], AtFlags::REMOVEDIR) {
                    Ok(()) => rename(),
                    Err(errno) => Err(errno),
                }
            }
            done => done,
        };
        let outcome = done.map_err(|errno| match errno {
            Errno::NOTEMPTY | Errno::EXIST | Errno::ISDIR => UnwrittenReason::DirectoryInTheWay,
            errno => UnwrittenReason::Replace(errno.into()),
        });
        if outcome.is_err() {
            self.remove(place);
        }
        outcome
    }

    /// Takes away what was made but not completed.
    pub(crate) fn remove(&self, place: &Place) {
        if let Ok(dir) = place.dir.dir.open() {
            // If it cannot be removed the report names the entry all the same.
            let _ = rustix::fs::unlinkat(&dir, &self.name[..], AtFlags::empty());
        }
    }
}
