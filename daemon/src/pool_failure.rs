//! What the pool's errors mean to people.

use crate::failure::{Code, Failure, chain};
use crate::pool_thread::PoolClosed;
use crate::size_text::size;
use crate::store::StoreError;
use keelhold_disk::error::{
    CommitError, CreateError, ForgetError, IngestError, MemberError, MoveError, OpenError,
    ReadError, ReclaimError,
};
use keelhold_disk::pool::PageError;
use keelhold_disk::tree::{BuildError, ReadError as ReadTreeError};

#[must_use]
pub fn of_closed(closed: PoolClosed) -> Failure {
    Failure::of(Code::Stopping, &closed)
}

#[must_use]
pub fn of_store(error: &StoreError) -> Failure {
    match error {
        StoreError::Closed(closed) => of_closed(*closed),
        StoreError::Commit(error) => of_commit(error),
        StoreError::Record { .. } | StoreError::Encode { .. } => Failure::of(Code::Internal, error),
    }
}

#[must_use]
pub fn of_commit(error: &CommitError) -> Failure {
    let code = match error {
        CommitError::Fenced { .. } | CommitError::DiskLost { .. } => Code::DiskFenced,
        CommitError::Full { .. } => Code::PoolFull,
        CommitError::NoSession { .. } => Code::SessionLapsed,
        CommitError::NoPoint { .. } => Code::PointUnknown,
        CommitError::Read(error) => return of_read(error),
        _ => Code::Internal,
    };
    Failure::of(code, error)
}

#[must_use]
pub fn of_read(error: &ReadError) -> Failure {
    let code = match error {
        ReadError::NoPoint { .. } => Code::PointUnknown,
        ReadError::Device { .. } => Code::DiskUnusable,
        _ => Code::PoolDamaged,
    };
    Failure::of(code, error)
}

#[must_use]
pub fn of_forget(error: &ForgetError) -> Failure {
    let code = match error {
        ForgetError::NotForgotten { .. } => Code::PointNotInTrash,
        ForgetError::TooLate { .. } => Code::UndoTooLate,
        ForgetError::NoWorkingState { .. } => Code::PointUnknown,
        ForgetError::Commit(error) => return of_commit(error),
    };
    Failure::of(code, error)
}

#[must_use]
pub fn of_reclaim(error: &ReclaimError) -> Failure {
    match error {
        ReclaimError::Brake { found_len, expected_len } => {
            let (found, expected) = (size(*found_len), size(*expected_len));
            let text = format!(
                "{found} ({found_len} bytes) would be given up where {expected} ({expected_len} bytes) were expected"
            );
            Failure::new(Code::ReclaimBrake, text)
        }
        ReclaimError::Commit(error) => of_commit(error),
    }
}

#[must_use]
pub fn of_member(error: &MemberError) -> Failure {
    let code = match error {
        MemberError::NoDisk { .. } => Code::DiskUnknown,
        MemberError::InUse { .. } => Code::DiskOccupied,
        MemberError::TooSmall { .. } => Code::DiskTooSmall,
        MemberError::TooMany { .. } => Code::DisksTooMany,
        MemberError::LastDisk { .. } => Code::DiskLast,
        MemberError::TooFewDisks { .. } => Code::DisksTooFew,
        MemberError::NoRoom { needed, free } => {
            let (needed, free) = (size(*needed), size(*free));
            let text = format!("{needed} must move and the other disks have room for {free}");
            return Failure::new(Code::DiskNoRoom, text);
        }
        MemberError::Device { .. } => Code::DiskUnusable,
        MemberError::OnlyCopy { .. } => Code::PoolDamaged,
        MemberError::InService { .. } => Code::Internal,
        MemberError::Unreadable { source } => return of_open(source),
        MemberError::Commit(error) | MemberError::Move(MoveError::Commit(error)) => {
            return of_commit(error);
        }
        MemberError::Move(MoveError::Read(error)) => return of_read(error),
        // What was moved is moved: it goes on when there is room again.
        MemberError::Move(MoveError::NoRoom | MoveError::Gone) => Code::DiskNoRoom,
    };
    Failure::of(code, error)
}

/// Errors of taking in what an agent sends. What the agent is to blame for is a breach.
#[must_use]
pub fn of_ingest(error: &IngestError) -> Failure {
    match error {
        IngestError::Commit(error) => of_commit(error),
        IngestError::Read(error) => of_read(error),
        // Pages are made while a tree is taken in: a full pool is found here, too.
        IngestError::Tree(error) => of_tree(error),
        _ => Failure::of(Code::AgentBroke, error),
    }
}

fn of_tree(error: &BuildError<PageError>) -> Failure {
    let of_page = |error: &PageError| match error {
        PageError::Read(error) => of_read(error),
        PageError::Commit(error) => of_commit(error),
    };
    match error {
        BuildError::Store(error) | BuildError::Read(ReadTreeError::Store(error)) => of_page(error),
        BuildError::Read(ReadTreeError::Page { .. }) => Failure::of(Code::PoolDamaged, error),
        _ => Failure::of(Code::AgentBroke, error),
    }
}

#[must_use]
pub fn of_create(error: &CreateError) -> Failure {
    let code = match error {
        CreateError::InUse { .. } => Code::DiskOccupied,
        CreateError::DiskCount { .. }
        | CreateError::ContainerLen { .. }
        | CreateError::Copies { .. } => Code::BadRequest,
        CreateError::TooSmall { .. }
        | CreateError::Device { .. }
        | CreateError::NotReadBack { .. } => Code::DiskUnusable,
        CreateError::Commit(error) => return of_commit(error),
    };
    Failure::of(code, error)
}

#[must_use]
pub fn of_open(error: &OpenError) -> Failure {
    let code = match error {
        OpenError::Missing { .. } => Code::DiskMissing,
        OpenError::NoLabel { .. }
        | OpenError::OtherPool { .. }
        | OpenError::Twice { .. }
        | OpenError::Split { .. }
        | OpenError::Features { .. } => Code::PoolForeign,
        OpenError::Device { .. } => Code::DiskUnusable,
        OpenError::KeyNeeded => Code::KeyNeeded,
        OpenError::WrongKey { .. } => Code::KeyWrong,
        OpenError::NotEncrypted => Code::NotEncrypted,
        OpenError::Commit(error) => return of_commit(error),
        _ => Code::PoolDamaged,
    };
    Failure::new(code, chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn the_brake_is_a_refusal_that_says_both_figures_and_how_to_go_on() {
        let brake = ReclaimError::Brake { found_len: 5 << 30, expected_len: 1 << 20 };
        let failure = of_reclaim(&brake);
        assert_eq!(failure.code.exit(), Exit::Refused);
        assert!(failure.message.contains("5.0 GiB") && failure.message.contains("1048576 bytes"));
        assert!(failure.hint.contains("keelhold pool reclaim --confirm"), "{}", failure.hint);
    }
}
