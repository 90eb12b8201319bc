//! A lying machine against the daemon as it is shipped. Each case is one lie; after each the daemon
//! still serves: an honest machine's backup succeeds, no point came out of the lie, and the daemon's
//! memory stayed where it was.

mod doors;
mod floods;
mod frames;
mod messages;
mod stage;
mod streams;
mod trees;

use keelhold_tests::liar::{Ending, Liar};
use stage::Stage;

/// The agent broke the protocol (`daemon/ERRORS.md`).
const BROKE: Ending = Ending::Refused(504);

/// A lie with the whole appliance in view.
type Door = (&'static str, Ending, fn(&Stage) -> Ending);
/// A lie in a backup the daemon has just asked for.
type Session = (&'static str, Ending, fn(&mut Liar));

/// VmHWM of the daemon, over all attacks.
const MEMORY_MAX: u64 = 300 << 20;
const CASES_MIN: usize = 40;

#[test]
fn a_lying_machine_gets_a_clear_end_and_leaves_nothing() {
    let mut stage = Stage::open();
    let mut held: Vec<String> = Vec::new();
    let sessions = [streams::ALL, trees::ALL, frames::ALL, messages::IN_SESSIONS].concat();
    for &(name, expected, lie) in sessions.into_iter().flatten() {
        let mut liar = stage.session();
        let before = stage.points();
        lie(&mut liar);
        let ending = liar.ending();
        assert_eq!(ending, expected, "{name}");
        if ending != Ending::Cut {
            stage.wait_for_the_end_of(liar.job());
        }
        let more = usize::from(ending == Ending::Committed);
        assert_eq!(stage.points(), before + more, "{name}");
        held.push(stage.still_serves(name, ending));
    }
    let at_the_door = [doors::ALL, messages::AT_THE_DOOR, floods::ALL].concat();
    for &(name, expected, lie) in at_the_door.into_iter().flatten() {
        let before = stage.points();
        assert_eq!(lie(&stage), expected, "{name}");
        assert_eq!(stage.points(), before, "{name}");
        held.push(stage.still_serves(name, expected));
    }
    let memory = stage.appliance.daemon_memory_max();
    for (number, line) in held.iter().enumerate() {
        println!("{:3}. {line}", number + 1);
    }
    println!("{} attacks; the daemon took {} MiB at most", held.len(), memory >> 20);
    assert!(held.len() >= CASES_MIN, "{} cases", held.len());
    stage.close();
}
