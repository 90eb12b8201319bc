//! Who is connected right now. A machine has at most one connection: a newer one ends the older,
//! which is either dead and has not noticed, or somebody else with the same key.

use crate::job::JobId;
use keelhold_wire::{Condition, FileSystems};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use tokio::sync::watch;

/// What a connection is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Run this job; it is this connection's now.
    Run(JobId),
}

#[derive(Debug)]
struct Connection {
    number: u64,
    version: String,
    /// The newest version of the wire it speaks.
    wire: u32,
    condition: Condition,
    file_systems: Option<FileSystems>,
    commands: mpsc::UnboundedSender<Command>,
    end: watch::Sender<bool>,
}

/// What a connected machine has mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    pub machine: String,
    /// Paths of the mount points.
    pub roots: Vec<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    machines: HashMap<String, Connection>,
}

#[derive(Debug, Default)]
pub struct Connected {
    table: Mutex<Table>,
}

/// A connection's own end: what it is asked, and when it has to go.
#[derive(Debug)]
pub struct Place {
    number: u64,
    machine: String,
    pub commands: mpsc::UnboundedReceiver<Command>,
    pub end: watch::Receiver<bool>,
    pub replaced_another: bool,
}

impl Connected {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a connection, ending the machine's older one.
    pub fn enter(&self, machine: &str, version: &str, wire: u32) -> Place {
        let (commands, asked) = mpsc::unbounded_channel();
        let (end, ended) = watch::channel(false);
        let mut table = self.table();
        let number = table.next;
        table.next += 1;
        let connection = Connection {
            number,
            version: version.to_owned(),
            wire,
            condition: Condition::default(),
            file_systems: None,
            commands,
            end,
        };
        let older = table.machines.insert(machine.to_owned(), connection);
        if let Some(older) = &older {
            older.end.send_replace(true);
        }
        Place {
            number,
            machine: machine.to_owned(),
            commands: asked,
            end: ended,
            replaced_another: older.is_some(),
        }
    }

    /// Takes a connection out that has ended, unless another took its place.
    pub fn leave(&self, place: &Place) {
        let mut table = self.table();
        if table.machines.get(&place.machine).is_some_and(|found| found.number == place.number) {
            table.machines.remove(&place.machine);
        }
    }

    /// Ends the machine's connection, at once.
    pub fn cut(&self, machine: &str) {
        if let Some(connection) = self.table().machines.remove(machine) {
            connection.end.send_replace(true);
        }
    }

    /// Hands a command to the machine's connection. False: it has none.
    pub fn command(&self, machine: &str, command: Command) -> bool {
        let table = self.table();
        let connection = table.machines.get(machine);
        connection.is_some_and(|connection| connection.commands.send(command).is_ok())
    }

    #[must_use]
    pub fn version(&self, machine: &str) -> Option<String> {
        self.table().machines.get(machine).map(|connection| connection.version.clone())
    }

    /// The newest version of the wire a connected machine speaks.
    #[must_use]
    pub fn wire(&self, machine: &str) -> Option<u32> {
        self.table().machines.get(machine).map(|connection| connection.wire)
    }

    /// How a connected machine stands, as far as it said.
    #[must_use]
    pub fn condition(&self, machine: &str) -> Option<Condition> {
        self.table().machines.get(machine).map(|connection| connection.condition)
    }

    pub fn stands(&self, machine: &str, condition: Condition) {
        if let Some(connection) = self.table().machines.get_mut(machine) {
            connection.condition = condition;
        }
    }

    pub fn has_mounted(&self, machine: &str, file_systems: FileSystems) {
        if let Some(connection) = self.table().machines.get_mut(machine) {
            connection.file_systems = Some(file_systems);
        }
    }

    /// What machines have mounted, of those that said.
    #[must_use]
    pub fn mounted(&self) -> Vec<Mounted> {
        let table = self.table();
        let of = |(machine, connection): (&String, &Connection)| {
            let list = &connection.file_systems.as_ref()?.list;
            let roots = list.iter().map(|each| each.point.to_vec()).collect();
            Some(Mounted { machine: machine.clone(), roots })
        };
        table.machines.iter().filter_map(of).collect()
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.table().machines.len()
    }
}

impl Place {
    #[must_use]
    pub fn machine(&self) -> &str {
        &self.machine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_connection_ends_the_older() {
        let connected = Connected::default();
        let older = connected.enter("m", "1", 2);
        assert!(!older.replaced_another && !*older.end.borrow());
        let mut newer = connected.enter("m", "2", 2);
        assert!(newer.replaced_another && *older.end.borrow());
        connected.leave(&older);
        assert!(connected.command("m", Command::Run(7)));
        assert_eq!(newer.commands.try_recv(), Ok(Command::Run(7)));
        connected.cut("m");
        assert!(*newer.end.borrow() && !connected.command("m", Command::Run(8)));
    }
}
