//! The tree's reasons in the words of the wire.

use keelhold_tree::SkippedReason;
use keelhold_wire::SkipReason;

use super::reading::Note;

impl From<SkippedReason> for Note {
    fn from(reason: SkippedReason) -> Self {
        let text = reason.to_string();
        let reason = match reason {
            SkippedReason::Vanished => SkipReason::Vanished,
            SkippedReason::Changed => SkipReason::ChangedWhileRead,
            SkippedReason::OtherFileSystem { .. }
            | SkippedReason::KernelFileSystem { .. }
            | SkippedReason::KeptOut => SkipReason::NotCovered,
            SkippedReason::PathTooLong { .. }
            | SkippedReason::NameTooLong { .. }
            | SkippedReason::XattrsTooLong { .. } => SkipReason::Unsupported,
            SkippedReason::Open(_)
            | SkippedReason::List(_)
            | SkippedReason::Stat(_)
            | SkippedReason::ListXattrs(_)
            | SkippedReason::Xattr { .. }
            | SkippedReason::Target(_)
            | SkippedReason::Content { .. }
            | SkippedReason::BadRule { .. } => SkipReason::Unreadable,
        };
        Self { reason, text }
    }
}
